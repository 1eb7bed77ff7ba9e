"""Batched generation with a Hugging Face model. Loads torch and transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from mcpo_rl.errors import ConfigError
from mcpo_rl.evaluation.generators import Generated, Sampling, seed_of
from mcpo_rl.evaluation.prompts import PromptFormat, check_lengths, decode, end_tokens
from mcpo_rl.types import Message


class TransformersGenerator:
    """A `Generator` that runs `model.generate` on batches of left-padded prompts.

    Every batch has random numbers of its own, which follow from the seed and the batch's first row: what is drawn for a
    row does not depend on which other batches are drawn. The caller's random state is left as it was.

    Args:
        model: A causal language model, on the device to use. Put into eval mode meanwhile.
        tokenizer: Its tokenizer.
        batch_size: Completions generated at once.
        prompt_format: How messages become tokens.
        name: The model's name for the record; None takes the one it was loaded by.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 32,
        prompt_format: PromptFormat | None = None,
        name: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, not {batch_size}.")
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size
        self._format = prompt_format or PromptFormat()
        self.model = name or str(getattr(model, "name_or_path", "") or getattr(model.config, "_name_or_path", ""))
        self.settings: dict[str, Any] = {
            "engine": "transformers",
            "batch_size": batch_size,
            **self._format.to_settings(),
        }

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, *, done: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Yield completions in batches; see `Generator.generate`.

        Prompts of similar length go together, the longest first: little padding, and what does not fit fails at once.
        """
        encoded = self._format.encode(self._tokenizer, prompts)
        check_lengths(encoded, sampling.max_new_tokens, self._context())
        ends = end_tokens(self._tokenizer, getattr(self._model.generation_config, "eos_token_id", None))
        pad = next(number for number in (self._tokenizer.pad_token_id, *ends, 0) if number is not None)
        settings = _generation_config(ends, pad, sampling)
        order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
        known = set(done)
        for start in range(0, len(order), self._batch_size):
            planned = order[start : start + self._batch_size]
            if known.issuperset(planned):
                continue
            # The whole batch, also where part of it is known: what is drawn for a row depends on the rows beside it.
            completions = self._complete(
                [encoded[row] for row in planned], pad, settings, seed_of(sampling.seed, planned[0])
            )
            yield [
                (row, Generated(*decode(self._tokenizer, tokens, ends)))
                for row, tokens in zip(planned, completions, strict=True)
                if row not in known
            ]

    def _complete(
        self, encoded: Sequence[Sequence[int]], pad: int, settings: GenerationConfig, seed: int
    ) -> list[list[int]]:
        device = self._model.get_input_embeddings().weight.device
        # A fork per batch, not around the loop: between batches the caller runs, and it must see its own random state.
        with _seeded(seed, device), _evaluating(self._model), torch.no_grad():
            ids, mask = _left_padded(encoded, pad, device)
            try:
                output = self._model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
            except torch.OutOfMemoryError as error:
                raise ConfigError(
                    f"The device ran out of memory with {len(encoded)} completions of up to {settings.max_new_tokens} "
                    "tokens at a time. Give a smaller batch size."
                ) from error
        completions: list[list[int]] = output[:, ids.shape[1] :].tolist()
        return completions

    def _context(self) -> int | None:
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else None


def _generation_config(ends: list[int], pad: int, sampling: Sampling) -> GenerationConfig:
    """Return settings that leave nothing open: the rest, `generate` would take from the model's generation config."""
    drawing = {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
    }
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        num_beams=1,
        use_cache=True,
        **(drawing if sampling.temperature > 0 else {"do_sample": False}),
    )


def _left_padded(encoded: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both (batch, longest prompt) int64. Done here: the tokenizer's settings stay untouched."""
    width = max(len(ids) for ids in encoded)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in encoded], dtype=torch.int64, device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded], device=device)
    return ids, mask


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block on random numbers of its own, and give the caller's random state back."""
    # A model over several GPUs samples on the last of them.
    devices = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield


@contextlib.contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
