"""Stands in for vLLM where it cannot be installed: what an evaluation uses of it, computed by transformers on a CPU.

The arguments are those that the evaluation passes, by vLLM's names; any other is an error. Like vLLM every request has
random numbers of its own where it has a seed, `token_ids` hold the end token, and a prompt that is too long is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModelForCausalLM

MADE: list[LLM] = []


@dataclass(kw_only=True)
class SamplingParams:
    """How one prompt is completed."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int | None = 16
    stop_token_ids: list[int] = field(default_factory=list)
    seed: int | None = None
    detokenize: bool = True

    def __post_init__(self) -> None:
        """Refuse what the stand-in does not do."""
        assert (self.n, self.top_p, self.top_k, self.min_p) == (1, 1.0, 0, 0.0), self
        assert self.max_tokens and self.seed is not None and not self.detokenize


class LLM:
    """vLLM's engine for offline generation."""

    def __init__(
        self,
        *,
        model: str,
        tokenizer: str,
        dtype: str,
        tensor_parallel_size: int,
        gpu_memory_utilization: float,
        max_model_len: int | None,
        seed: int,
    ) -> None:
        assert model == tokenizer and tensor_parallel_size == 1
        if gpu_memory_utilization < 0.1:
            raise ValueError("No available memory for the cache blocks.")
        self.model = AutoModelForCausalLM.from_pretrained(model).eval()
        length = max_model_len or self.model.config.max_position_embeddings
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=length))
        self.waves: list[int] = []
        self.asked = {"dtype": dtype, "max_model_len": max_model_len}
        MADE.append(self)

    def generate(
        self, prompts: list[dict[str, Any]], sampling_params: list[SamplingParams], use_tqdm: bool
    ) -> list[SimpleNamespace]:
        """Complete every prompt with its own parameters."""
        assert len(prompts) == len(sampling_params) and not use_tqdm
        self.waves.append(len(prompts))
        return [
            SimpleNamespace(outputs=[self._complete(prompt["prompt_token_ids"], params)])
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    @torch.no_grad()
    def _complete(self, prompt: list[int], params: SamplingParams) -> SimpleNamespace:
        assert len(prompt) < self.llm_engine.model_config.max_model_len
        random = torch.Generator().manual_seed(params.seed or 0)
        tokens: list[int] = []
        while len(tokens) < (params.max_tokens or 0):
            logits = self.model(input_ids=torch.tensor([prompt + tokens])).logits[0, -1]
            if params.temperature == 0:
                tokens.append(int(logits.argmax()))
            else:
                shares = (logits / params.temperature).softmax(dim=-1)
                tokens.append(int(torch.multinomial(shares, 1, generator=random)))
            if tokens[-1] in params.stop_token_ids:
                return SimpleNamespace(token_ids=tuple(tokens), finish_reason="stop")
        return SimpleNamespace(token_ids=tuple(tokens), finish_reason="length")
