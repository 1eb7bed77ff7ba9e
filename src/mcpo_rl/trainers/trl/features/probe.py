"""Hidden states of a probe set: by the trainer's engine while it trains, by a model at hand afterwards.

The same tokens, layer and pooling as the pool phase reads. Padding is on the right throughout, which no token sees.
Axes: N rollouts of the set, B rows of a pass, T tokens, d features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mcpo_rl.errors import ProblemError
from mcpo_rl.runs.probe import ProbeSet
from mcpo_rl.trainers.trl.features.hidden_states import (
    PooledPass,
    depends_on_width,
    find_backbone,
    find_feature_module,
    inference,
    unwrapped,
)
from mcpo_rl.trainers.trl.features.lines import breaking_tokens, line_weights
from mcpo_rl.trainers.trl.features.source import pooled_forward

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ProbeTokens:
    """The rollouts of a set as a model reads them."""

    rows: list[list[int]]
    """N token ids each of prompt and completion, with the end token where the completion was not truncated."""
    prompts: list[int]
    """N: how many of them are the prompt's."""
    pad: int
    breaks: list[int]
    """Ids of the tokens in the completions that hold a line break."""


def tokenize(probe_set: ProbeSet, processing_class: Any, limit: int | None = None) -> ProbeTokens:
    """Return the tokens of `probe_set`.

    Args:
        probe_set: The rollouts.
        processing_class: The tokenizer, or a processor that has one.
        limit: The model's context; a longer completion is cut there.

    Raises:
        ProblemError: A prompt leaves no room for a completion.
    """
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    rows, prompts = [], []
    for place, prompt in enumerate(probe_set.prompts):
        if isinstance(prompt, str):
            ids = list(tokenizer(prompt)["input_ids"])
        else:
            ids = tokenizer.apply_chat_template(
                list(prompt),
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                **probe_set.chat_template_kwargs,
            )
        completion = list(tokenizer(probe_set.completions[place], add_special_tokens=False)["input_ids"])
        if not probe_set.truncated[place] and tokenizer.eos_token_id is not None:
            completion.append(tokenizer.eos_token_id)
        if limit is not None and len(ids) >= limit:
            raise ProblemError(
                f"The prompt of probe rollout {place} has {len(ids)} tokens, which leaves no room for a completion in "
                f"the model's context of {limit}. Leave such problems out of the probe set."
            )
        rows.append((ids + completion)[:limit])
        prompts.append(len(ids))
    pad = next(token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if token is not None)
    written = {token for row, start in zip(rows, prompts, strict=True) for token in row[start:]}
    return ProbeTokens(rows, prompts, pad, breaking_tokens(tokenizer, sorted(written)))


def context_of(model: torch.nn.Module) -> int | None:
    """Return the most tokens that the model takes; None where its config does not say."""
    config: Any = model.config
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def states_of_model(
    model: torch.nn.Module, tokens: ProbeTokens, *, layer: int = -1, pooling: str = "mean", batch_size: int = 16
) -> Float32Array:
    """Return h (N, d) float32 as `model` sees the rollouts.

    Args:
        model: A causal language model, on the device to use.
        tokens: From `tokenize`.
        layer: As `feature_layer` of the trainer.
        pooling: As `feature_pooling` of the trainer.
        batch_size: Rollouts of a pass.

    Raises:
        ConfigError: The model has no such layer.
    """
    backbone, module = find_backbone(model), find_feature_module(model, layer)
    device = next(model.parameters()).device
    order = _by_length(tokens)
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    pieces = []
    with inference(model):
        for one in _passes(tokens, chunks, device, pooling, same_width=depends_on_width(model)):
            reader = PooledPass(module, one["completion_mask"], pooling)
            with reader.tap:
                backbone(input_ids=one["input_ids"], attention_mask=one["attention_mask"], use_cache=False)
            pieces.append(reader.features())
    return _in_order(torch.cat(pieces), order)


def states_of_trainer(trainer: Any, tokens: ProbeTokens) -> Float32Array:
    """Return h (N, d) float32 at the weights of now, through the trainer's engine; every rank has to call this.

    The rollouts are split over the ranks, each of which makes the same number of passes, as sharded engines need it.

    Args:
        trainer: One of ours.
        tokens: From `tokenize`.
    """
    accelerator = trainer.accelerator
    order = _by_length(tokens)
    # Nothing is kept for a backward pass, so twice the rows of a training pass stay below its memory.
    size, ranks = 2 * trainer.args.per_device_train_batch_size, accelerator.num_processes
    size = min(size, -(-len(order) // ranks))
    padded = order + order[-1:] * (-len(order) % (size * ranks))
    chunks = [padded[start : start + size] for start in range(0, len(padded), size)]
    own = chunks[accelerator.process_index :: ranks]
    whole = depends_on_width(unwrapped(accelerator, trainer.model))
    passes = _passes(tokens, own, accelerator.device, trainer.args.feature_pooling, same_width=whole)
    features = pooled_forward(trainer, passes)
    if ranks > 1:
        gathered = accelerator.gather(features).reshape(ranks, len(own), size, -1)
        features = gathered.transpose(0, 1).reshape(len(padded), -1)
    return _in_order(features[: len(order)], order)


def _by_length(tokens: ProbeTokens) -> list[int]:
    return sorted(range(len(tokens.rows)), key=lambda row: -len(tokens.rows[row]))


def _passes(
    tokens: ProbeTokens, chunks: Sequence[Sequence[int]], device: torch.device, pooling: str, *, same_width: bool
) -> Iterator[dict[str, Tensor]]:
    """Yield the inputs of each chunk: ids, attention and the completion's tokens, all (B, T)."""
    longest = max(len(row) for row in tokens.rows)
    for chunk in chunks:
        width = longest if same_width else max(len(tokens.rows[row]) for row in chunk)
        ids = torch.full((len(chunk), width), tokens.pad, dtype=torch.int64)
        attended, completion = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, row in enumerate(chunk):
            length = len(tokens.rows[row])
            ids[place, :length] = torch.tensor(tokens.rows[row])
            attended[place, :length] = 1
            completion[place, tokens.prompts[row] : length] = 1
        broken = torch.isin(ids, torch.tensor(tokens.breaks, dtype=ids.dtype))
        counted = line_weights(completion, broken) if pooling == "lines" else completion
        yield {
            "input_ids": ids.to(device),
            "attention_mask": attended.to(device),
            "completion_mask": counted.to(device),
        }


def _in_order(features: Tensor, order: Sequence[int]) -> Float32Array:
    """Return the rows as they stand in the set."""
    states: Float32Array = features[torch.tensor(order, device=features.device).argsort()].float().cpu().numpy()
    return states
