"""The copy of the policy that the stand-in samples from.

Axes: B prompts, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.integrations import deepspeed

from vllm.sampling_params import SamplingParams

Completion = list[tuple[int, float]]
"""Tokens with their log-probabilities."""


class Policy:
    """A model from disk with the weights that were loaded into it since.

    Args:
        path: of the model.
        seed: of its own random numbers: the trainer's are left alone.
    """

    def __init__(self, path: str, seed: int) -> None:
        # With ZeRO-3 transformers would give this rank a shard of it; vLLM does not load by transformers.
        with patch.object(deepspeed, "_hf_deepspeed_config_weak_ref", None):
            self.model = AutoModelForCausalLM.from_pretrained(path).eval()
        self.events: list[tuple[Any, ...]] = []
        self.awake = {"weights", "kv_cache"}
        self._missing: set[str] = set()  # parameters whose values were discarded
        self._random = torch.Generator().manual_seed(seed)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take new values for parameters of the model; refuses what it does not have."""
        if "weights" not in self.awake:
            raise RuntimeError("weights are written to memory that was given back")
        parameters = dict(self.model.named_parameters())
        for name, values in weights:
            if name not in parameters:
                raise ValueError(f"There is no module or parameter named {name!r} in {type(self.model).__name__}")
            assert parameters[name].shape == values.shape, (name, parameters[name].shape, values.shape)
            with torch.no_grad():
                parameters[name].copy_(values)
            self._missing.discard(name)
            self.events.append(("load", name, tuple(values.shape)))

    def discard(self) -> None:
        """Give all memory back, with what is in it."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.fill_(torch.nan)
                self._missing.add(name)
        self.awake = set()
        self.events.append(("sleep",))

    def wake(self, tags: list[str]) -> None:
        """Take memory again."""
        self.awake |= set(tags)
        self.events.append(("wake", *tags))

    def sample(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        """Return one completion for each prompt; the last token is the end of text or the `max_tokens`-th."""
        if self.awake != {"weights", "kv_cache"} or self._missing:
            raise RuntimeError(
                f"generation with {sorted(self.awake)} awake and {len(self._missing)} parameters missing"
            )
        # Rows of one length at a time: nothing is padded, so nothing can go wrong with it here.
        completions: list[Completion] = [[] for _ in prompts]
        for length in sorted({len(ids) for ids in prompts}):
            rows = [row for row, ids in enumerate(prompts) if len(ids) == length]
            for row, completion in zip(rows, self._decode([prompts[row] for row in rows], params), strict=True):
                completions[row] = completion
        state = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.events.append(("generate", state, list(zip(prompts, completions, strict=True))))
        return completions

    @torch.no_grad()
    def _decode(self, prompts: list[list[int]], params: SamplingParams) -> list[Completion]:
        completions: list[Completion] = [[] for _ in prompts]
        open_rows, fed, cache = set(range(len(prompts))), torch.tensor(prompts), None
        for _ in range(params.max_tokens):
            output = self.model(input_ids=fed, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            # vLLM's kernels round differently from the trainer's: here by what bfloat16 cannot hold.
            logits = output.logits[:, -1].to(torch.bfloat16).to(torch.float32) / params.temperature  # (B, V)
            log_probs = logits.log_softmax(dim=-1)
            tokens = torch.multinomial(log_probs.exp(), 1, generator=self._random)  # (B, 1)
            values = log_probs.gather(1, tokens)
            for row in sorted(open_rows):
                completions[row].append((int(tokens[row]), float(values[row])))
                if int(tokens[row]) == self.model.config.eos_token_id:
                    open_rows.discard(row)
            if not open_rows:
                break
            fed = tokens
        return completions
