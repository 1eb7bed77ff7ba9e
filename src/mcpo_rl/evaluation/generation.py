"""Batched generation with a Hugging Face model. The one module of the evaluation that loads torch and transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from mcpo_rl.errors import ModelError, ProblemError
from mcpo_rl.types import Message


@dataclass(frozen=True)
class Generated:
    """One completion, as generated."""

    text: str
    tokens: int
    truncated: bool


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Message]],
    *,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
    chat_template_kwargs: dict[str, Any],
) -> Iterator[list[tuple[int, Generated]]]:
    """Yield one completion per prompt, in batches of `(row, completion)`.

    Prompts of similar length go together, the longest first: little padding, and what does not fit fails at once.

    Raises:
        ModelError: The tokenizer has no chat template.
        ProblemError: A prompt and `max_new_tokens` exceed the model's context.
    """
    encoded = _encode(tokenizer, prompts, chat_template_kwargs)
    _check_lengths(model, encoded, max_new_tokens)
    ends = _end_tokens(model, tokenizer)
    pad = _first_known(tokenizer.pad_token_id, *ends, 0)
    settings = _generation_config(ends, pad, temperature, top_p, max_new_tokens)
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
    device = next(model.parameters()).device
    random_state = _seeded_state(seed, device)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        # A fork per batch, not around the loop: between batches the caller runs, and it must see its own random state.
        with _own_randomness(random_state, device), _evaluating(model), torch.no_grad():
            ids, mask = _left_padded([encoded[row] for row in rows], pad, device)
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        completions = output[:, ids.shape[1] :].tolist()
        yield [(row, _decode(tokenizer, tokens, ends)) for row, tokens in zip(rows, completions, strict=True)]


def _encode(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]], chat_template_kwargs: dict[str, Any]
) -> list[list[int]]:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"The tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, so prompts cannot be "
            "put to the model. Take an instruction-tuned model, or set `tokenizer.chat_template`."
        )
    cache: dict[int, list[int]] = {}  # samples of one problem share the same prompt object
    for prompt in prompts:
        if id(prompt) not in cache:
            cache[id(prompt)] = tokenizer.apply_chat_template(
                list(prompt), add_generation_prompt=True, tokenize=True, return_dict=False, **chat_template_kwargs
            )
    return [cache[id(prompt)] for prompt in prompts]


def _check_lengths(model: PreTrainedModel, encoded: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    if limit and len(encoded[longest]) + max_new_tokens > limit:
        raise ProblemError(
            f"The longest prompt has {len(encoded[longest])} tokens; with max_new_tokens={max_new_tokens} that exceeds "
            f"the model's context of {limit}. Lower max_new_tokens to at most {limit - len(encoded[longest])}, "
            "or leave out the longest problems."
        )


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end a completion: the model's generation config names them all, the tokenizer only one."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ends = [named] if isinstance(named, int) else list(named or [])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    return ends


def _generation_config(
    ends: list[int], pad: int, temperature: float, top_p: float, max_new_tokens: int
) -> GenerationConfig:
    """Return settings that leave nothing open: the rest, `generate` would take from the model's generation config."""
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0, "min_p": 0.0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        num_beams=1,
        use_cache=True,
        **(sampling if temperature > 0 else {"do_sample": False}),
    )


def _decode(tokenizer: PreTrainedTokenizerBase, tokens: list[int], ends: Sequence[int]) -> Generated:
    """Cut at the first end token; what follows it is padding."""
    length = next((place + 1 for place, token in enumerate(tokens) if token in ends), None)
    kept = tokens if length is None else tokens[:length]
    text = tokenizer.decode(kept if length is None else kept[:-1], skip_special_tokens=True)
    return Generated(text=str(text), tokens=len(kept), truncated=length is None)


def _left_padded(encoded: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, both (batch, longest prompt) int64. Done here: the tokenizer's settings stay untouched."""
    width = max(len(ids) for ids in encoded)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in encoded], dtype=torch.int64, device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded], device=device)
    return ids, mask


def _first_known(*ids: int | None) -> int:
    return next(number for number in ids if number is not None)


@dataclass
class _RandomState:
    cpu: torch.Tensor
    cuda: torch.Tensor | None


def _seeded_state(seed: int, device: torch.device) -> _RandomState:
    """Return the random state that `seed` gives, leaving the current one alone."""
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(seed)
        return _RandomState(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)


@contextlib.contextmanager
def _own_randomness(state: _RandomState, device: torch.device) -> Iterator[None]:
    """Run a block on `state`, which moves on with it, and give the caller's random state back."""
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.set_rng_state(state.cpu)
        if state.cuda is not None:
            torch.cuda.set_rng_state(state.cuda, device)
        yield
        state.cpu = torch.get_rng_state()
        state.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


@contextlib.contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
