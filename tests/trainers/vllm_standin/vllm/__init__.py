"""Stands in for vLLM where it cannot be installed: the part that TRL uses, computed by transformers on a CPU.

It has its own copy of the policy, loaded from disk as vLLM loads it, and learns of new weights through TRL's own calls
alone. Like vLLM it refuses names and shapes that it does not have, works while its weights are awake, and gives
log-probabilities that differ a little from the trainer's.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from vllm.policy import Policy
from vllm.sampling_params import SamplingParams

__version__ = os.environ.get("VLLM_STANDIN_VERSION", "0.30.0")
__all__ = ["LLM", "CompletionOutput", "Logprob", "RequestOutput", "SamplingParams"]


class Logprob(SimpleNamespace):
    """Fields: logprob, rank."""


class CompletionOutput(SimpleNamespace):
    """Fields: token_ids, logprobs (one dict token -> Logprob a token)."""


class RequestOutput(SimpleNamespace):
    """Fields: prompt_token_ids, outputs."""


class LLM:
    """vLLM's engine within the training process; the arguments are those that TRL passes, any other is an error."""

    def __init__(
        self,
        *,
        model: str,
        tensor_parallel_size: int,
        gpu_memory_utilization: float,
        max_model_len: int | None,
        max_num_seqs: int,
        enable_sleep_mode: bool,
        model_impl: str,
        distributed_executor_backend: str,
        seed: int,
        max_num_batched_tokens: int,
        logprobs_mode: str,
        quantization: str | None,
        trust_remote_code: bool,
    ) -> None:
        assert tensor_parallel_size == 1 and quantization is None
        assert distributed_executor_backend == "external_launcher" and logprobs_mode == "processed_logprobs"
        self.policy = Policy(model, seed)
        self._may_sleep = enable_sleep_mode
        # The way that TRL takes to the weights.
        runner = SimpleNamespace(model=self.policy)
        executor = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        length = max_model_len or self.policy.model.config.max_position_embeddings
        config = SimpleNamespace(max_model_len=length)
        self.llm_engine = SimpleNamespace(model_executor=executor, model_config=config)

    @property
    def events(self) -> list[tuple[Any, ...]]:
        """What was asked of it, in order."""
        return self.policy.events

    def generate(
        self, prompts: list[dict[str, Any]], sampling_params: SamplingParams, use_tqdm: bool
    ) -> list[RequestOutput]:
        """Sample `n` completions for each prompt."""
        assert all(prompt.keys() == {"prompt_token_ids"} for prompt in prompts)
        asked = [prompt["prompt_token_ids"] for prompt in prompts]
        limit = self.llm_engine.model_config.max_model_len
        if max(map(len, asked)) >= limit:
            raise ValueError(f"A prompt is longer than the maximum model length of {limit}.")
        completions = self.policy.sample([ids for ids in asked for _ in range(sampling_params.n)], sampling_params)
        wanted, count = sampling_params.logprobs is not None, sampling_params.n
        outputs = [
            CompletionOutput(
                token_ids=[token for token, _ in completion],
                logprobs=[{token: Logprob(logprob=value, rank=1)} for token, value in completion] if wanted else None,
            )
            for completion in completions
        ]
        return [
            RequestOutput(prompt_token_ids=ids, outputs=outputs[row * count : (row + 1) * count])
            for row, ids in enumerate(asked)
        ]

    def sleep(self, level: int) -> None:
        """Give the memory back; level 2 discards the weights."""
        assert self._may_sleep and level == 2
        self.policy.discard()

    def wake_up(self, tags: list[str]) -> None:
        """Take memory again: for `weights` (empty after level 2) or the `kv_cache`."""
        assert self._may_sleep
        self.policy.wake(tags)

    def reset_prefix_cache(self) -> None:
        """Forget what was computed with other weights."""
        self.policy.events.append(("reset_prefix_cache",))
