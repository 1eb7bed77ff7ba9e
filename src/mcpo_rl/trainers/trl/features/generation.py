"""Features out of the decoding steps themselves: the pool phase without a forward pass of its own.

While `generate` decodes, each step feeds one token and the backbone yields its hidden state. Their running sum over a
completion is all that mean pooling needs. The state of a completion's last token is missing where decoding ended with
it: one more step on the cache that is still there computes it.

Axes: B rollouts of this rank, S decoding steps, d model width.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from mcpo_rl.trainers.trl.features.hidden_states import HiddenStateTap, find_backbone, find_feature_module

_TOGETHER = 16
"""Decoding steps whose states are summed at once: a handful of operations for all of them, and not for each."""


class GenerationMismatch(Exception):
    """What was seen while decoding does not give the features of these completions; the message says why."""


class GenerationTap:
    """Sums hidden states while `generate` runs inside its `with` block; `features` completes and checks them.

    Args:
        model: the unwrapped policy.
        layer: `feature_layer`.
        pooling: `mean` or `last`.
        end_token_ids: the tokens that end a completion (they belong to it).
    """

    def __init__(self, model: nn.Module, layer: int, pooling: str, end_token_ids: list[int]) -> None:
        self._model, self._pooling = model, pooling
        self._backbone = find_backbone(model)
        self._end_token_ids = torch.tensor(end_token_ids)
        self._state: Tensor | None = None
        self._layer_tap = HiddenStateTap(find_feature_module(model, layer), self._keep)
        self._stack = ExitStack()
        self._problem = ""
        self._seen_prompt = False
        self._fed: list[Tensor] = []  # S tensors (B,): the token that each step fed
        self._states: list[Tensor] = []  # (B, d) of the latest of these steps, which are not in the sums yet
        self._total: Tensor | None = None  # (B, d) float32 (float64 for float64 models)
        self._count = torch.zeros(0)
        self._open = torch.zeros(0, dtype=torch.bool)  # (B,): the completion goes on after the tokens fed so far
        self._last_call: dict[str, Any] = {}

    def __enter__(self) -> GenerationTap:
        self._stack.enter_context(self._layer_tap)
        # Registered after the layer's own hook: where both are the backbone, the state is there when this one runs.
        handle = self._backbone.register_forward_hook(self._on_backbone, with_kwargs=True)
        self._stack.callback(handle.remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def features(self, completion_ids: list[list[int]]) -> Tensor:
        """Return h (B, d) of the completions that the decoding ended in; called in the `with` block, after `generate`.

        Raises:
            GenerationMismatch: the tokens fed are not these completions, or the last step cannot be completed.
        """
        if self._problem:
            raise GenerationMismatch(self._problem)
        lengths = self._check_tokens(completion_ids)
        self._add_up()
        device = self._count.device
        missing = torch.tensor(lengths, device=device) - self._count.long()
        if bool((missing > 0).any()):
            self._feed_last_tokens(completion_ids, missing > 0)
        if self._problem or self._total is None:
            raise GenerationMismatch(self._problem or "no decoding step was seen")
        if self._pooling == "last":
            return self._total
        return self._total / torch.tensor(lengths, device=device, dtype=self._total.dtype)[:, None]

    def release(self) -> None:
        """Let go of the cache and the states."""
        self._last_call = {}
        self._state = None
        self._fed, self._states = [], []

    def _keep(self, hidden: Tensor) -> None:
        self._state = hidden

    def _on_backbone(self, module: nn.Module, arguments: tuple[Any, ...], inputs: dict[str, Any], output: Any) -> None:
        state, self._state = self._state, None
        ids = inputs.get("input_ids", arguments[0] if arguments else None)  # GPT-2 hands it on by position
        if self._problem:
            return
        if ids is None or state is None or inputs.get("past_key_values") is None:
            self._problem = "the model is not called with token ids and a cache"
        elif not self._seen_prompt or (not self._fed and ids.shape[1] > 1):
            self._seen_prompt = True  # a prompt may also come in several pieces
            self._count = torch.zeros(len(ids), device=state.device)
            self._open = torch.ones(len(ids), dtype=torch.bool, device=state.device)
            self._end_token_ids = self._end_token_ids.to(ids.device)
            self._last_call = inputs
        elif ids.shape[1] != 1 or ids.shape[0] != len(self._count):
            self._problem = "decoding feeds several tokens at once"
        else:
            self._add(ids[:, 0], state[:, -1])
            self._last_call = inputs

    def _add(self, tokens: Tensor, state: Tensor) -> None:
        """Take in the state (B, d) of the tokens (B,) that a step fed."""
        dtype = torch.float64 if state.dtype == torch.float64 else torch.float32
        self._fed.append(tokens)
        self._states.append(state.to(dtype, copy=True))  # a copy: the engine may use its memory again
        if len(self._states) == _TOGETHER:
            self._add_up()

    def _add_up(self) -> None:
        """Add the latest states to the sums of the rows whose completion was not over before them."""
        if not self._states:
            return
        states = torch.stack(self._states, dim=1)  # (B, S', d)
        ends = torch.isin(torch.stack(self._fed[-len(self._states) :], dim=1), self._end_token_ids)  # (B, S')
        self._states = []
        counts = self._open[:, None] & (ends.cumsum(dim=1) - ends.long() == 0)
        if self._total is None:
            self._total = torch.zeros_like(states[:, 0])
        if self._pooling == "mean":
            self._total += torch.where(counts[..., None], states, 0).sum(dim=1)
        else:
            latest = (counts.sum(dim=1) - 1).clamp(min=0)
            of_latest = states[torch.arange(len(states), device=states.device), latest]
            self._total = torch.where(counts.any(dim=1)[:, None], of_latest, self._total)
        self._count += counts.sum(dim=1)
        self._open = self._open & ~ends.any(dim=1)

    def _check_tokens(self, completion_ids: list[list[int]]) -> list[int]:
        """Return the lengths of the completions, having checked that their tokens are those that were fed."""
        lengths = [len(ids) for ids in completion_ids]
        if not self._seen_prompt or len(lengths) != len(self._count):
            raise GenerationMismatch("the decoding steps are not those of these completions")
        steps = len(self._fed)  # 0 where every completion is one token
        fed = torch.stack(self._fed, dim=1).cpu() if self._fed else torch.zeros(len(lengths), 0)  # (B, S)
        width = min(max(lengths), steps)
        wanted = torch.full((len(lengths), width), -1)
        for row, ids in enumerate(completion_ids):
            wanted[row, : min(len(ids), width)] = torch.tensor(ids[:width], dtype=wanted.dtype)
        if max(lengths) > steps + 1 or not bool(((wanted == fed[:, :width]) | (wanted == -1)).all()):
            raise GenerationMismatch("the tokens fed while decoding are not those of the completions")
        return lengths

    def _feed_last_tokens(self, completion_ids: list[list[int]], missing: Tensor) -> None:
        """Run one more decoding step on the cache, for the rows (B,) whose last token was never fed."""
        call = self._last_call
        cache, mask, positions = (call.get(name) for name in ("past_key_values", "attention_mask", "position_ids"))
        # No mask at all says that no prompt was padded.
        if positions is None or positions.dim() != 2 or (mask is not None and mask.dim() != 2):
            raise GenerationMismatch("the attention mask or the positions of the decoding steps are not the usual ones")
        seen = int(positions.max()) + 1 if mask is None else mask.shape[1]
        if cache is None or cache.get_seq_length() != seen:
            raise GenerationMismatch("the cache was cut after decoding")
        tokens = torch.tensor([[ids[-1]] for ids in completion_ids], device=positions.device)
        self._open = missing
        self._backbone(
            input_ids=tokens,
            attention_mask=None if mask is None else torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
            position_ids=positions[:, -1:] + 1,
            past_key_values=cache,
            use_cache=True,
        )
        self._add_up()
        if bool((self._count.long().cpu() != torch.tensor([len(ids) for ids in completion_ids])).any()):
            raise GenerationMismatch("more than the last state of a completion is missing")
