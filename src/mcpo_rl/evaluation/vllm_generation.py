"""Generation with vLLM, where it is installed. Loads torch, transformers and vLLM.

Prompts are encoded and completions decoded here, as they are with transformers: the two engines differ in nothing but
who computes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import ConfigError, MissingDependencyError, ModelError
from mcpo_rl.evaluation.generators import Generated, Sampling, seed_of
from mcpo_rl.evaluation.prompts import PromptFormat, check_lengths, decode, end_tokens
from mcpo_rl.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WAVE = 1024
"""Completions handed to vLLM at once; it batches them as they fit. More keep it busier towards the end of a wave, fewer
are lost when the evaluation is killed."""


class VLLMGenerator:
    """A `Generator` that lets vLLM complete waves of prompts.

    Every completion has a seed of its own, so that it does not depend on which others are generated beside it (as far
    as the kernels' rounding lets it).

    Args:
        path: What vLLM loads: a directory or hub id of a whole model.
        tokenizer: The model's.
        wave: Completions handed over at once.
        prompt_format: How messages become tokens.
        dtype: The weights' type; `auto` as they were saved.
        tensor_parallel_size: GPUs that the model is split over.
        gpu_memory_utilization: Share of a GPU's memory that vLLM may take.
        max_model_len: Longest prompt and completion together; None takes the model's own limit.
        name: The model's name for the record; None: `path`.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelError: vLLM cannot load the model.
    """

    def __init__(
        self,
        path: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        wave: int = WAVE,
        prompt_format: PromptFormat | None = None,
        dtype: str = "auto",
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        name: str | None = None,
    ) -> None:
        if wave < 1:
            raise ConfigError(f"`wave` must be at least 1, not {wave}.")
        try:
            from vllm import LLM
        except ImportError as error:
            raise MissingDependencyError(
                f"the engine vLLM cannot be imported ({error}): `pip install 'mcpo-rl[vllm]'`, or take the engine "
                "`transformers`."
            ) from error
        try:
            self._llm: Any = LLM(
                model=path,
                tokenizer=path,
                dtype=dtype,
                tensor_parallel_size=tensor_parallel_size,
                gpu_memory_utilization=gpu_memory_utilization,
                max_model_len=max_model_len,
                seed=0,
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"vLLM could not load {name or path}: {str(error).strip() or type(error).__name__}"
            ) from error
        self._tokenizer, self._wave = tokenizer, wave
        self._format = prompt_format or PromptFormat()
        self._ends = end_tokens(tokenizer, _named_ends(path))
        self.model = name or path
        self.settings: dict[str, Any] = {"engine": "vllm", "batch_size": wave, **self._format.to_settings()}

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, *, done: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Yield completions in waves, in the order of the rows; see `Generator.generate`.

        The samples of a problem follow each other, so that vLLM computes their common prompt once.
        """
        encoded = self._format.encode(self._tokenizer, prompts)
        check_lengths(encoded, sampling.max_new_tokens, self._llm.llm_engine.model_config.max_model_len)
        known = set(done)
        rows = [row for row in range(len(encoded)) if row not in known]
        for start in range(0, len(rows), self._wave):
            chosen = rows[start : start + self._wave]
            outputs = self._llm.generate(
                [{"prompt_token_ids": encoded[row]} for row in chosen],
                sampling_params=[self._params(sampling, row) for row in chosen],
                use_tqdm=False,
            )
            yield [(row, self._read(output.outputs[0])) for row, output in zip(chosen, outputs, strict=True)]

    def _params(self, sampling: Sampling, row: int) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            n=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=self._ends,
            seed=seed_of(sampling.seed, row),
            detokenize=False,
        )

    def _read(self, output: Any) -> Generated:
        text, tokens, cut = decode(self._tokenizer, list(output.token_ids), self._ends)
        return Generated(text, tokens, cut and output.finish_reason == "length")


def _named_ends(path: str) -> int | list[int] | None:
    """Return the end tokens that the model's generation config names; None where it has no such file."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path).eos_token_id  # type: ignore[no-any-return]
    except OSError:
        return None
