"""Pooling by lines: each line of a completion counts alike, however many tokens it has.

    h_i = sum_t w_t H_t,        w_t = 1 / (number of lines * tokens of the line that t is in)

So it is the mean over the lines of the mean over each line's tokens. A line break belongs to the line that it ends, and
so do the blank lines after it.

Axes: B rows, C tokens of the completion (or T of the whole row).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class TokenWeights:
    """What each token of a completion counts for in `h`: its mask, or with pooling by `lines` its weight.

    Args:
        pooling: `feature_pooling`.
        processing_class: the tokenizer, or a processor that has one.
    """

    def __init__(self, pooling: str, processing_class: Any) -> None:
        self._tokenizer = getattr(processing_class, "tokenizer", processing_class)
        self._by_lines, self._breaks = pooling == "lines", torch.zeros(0, dtype=torch.int64)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return `mask` (B, C) or, by lines, weights (B, C) that are not 0 where `mask` is not.

        Args:
            ids: (B, C) int64, the tokens.
            mask: (B, C), nonzero where a token counts.
        """
        if not self._by_lines:
            return mask
        if len(self._breaks) == 0:
            found = breaking_tokens(self._tokenizer, range(len(self._tokenizer)))
            self._breaks = torch.tensor([*found, -1])  # -1: found none is found as well
        return line_weights(mask, torch.isin(ids, self._breaks.to(ids.device)))


def breaking_tokens(tokenizer: Any, ids: Iterable[int]) -> list[int]:
    """Return those of the token ids whose text holds a line break."""
    return [number for number in ids if "\n" in tokenizer.decode([number])]


def line_weights(mask: Tensor, breaks: Tensor) -> Tensor:
    """Weigh tokens so that the lines of a row count alike; a row's weights add up to 1 (0 where nothing counts).

    Args:
        mask: (B, C), nonzero where a token counts; others lie in no line.
        breaks: (B, C) bool: the token holds a line break.

    Example:
        >>> line_weights(torch.ones(1, 4), torch.tensor([[False, True, False, False]]))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
        >>> line_weights(torch.ones(1, 4), torch.tensor([[True, False, True, False]])).round(decimals=2)
        tensor([[0.1700, 0.1700, 0.1700, 0.5000]])
    """
    counts = mask != 0
    text, broken = counts & ~breaks, (counts & breaks).long()
    # A line starts at the first token without a break after one with a break, once there was any text.
    so_far = broken.cumsum(dim=1)
    latest = torch.where(text, so_far, -1).cummax(dim=1).values  # breaks before the latest text
    before = torch.cat([latest.new_full((len(mask), 1), -1), latest[:, :-1]], dim=1)
    line = (text & (before >= 0) & (so_far > before)).long().cumsum(dim=1)
    dtype = torch.float64 if mask.device.type == "cpu" else torch.float32
    tokens = torch.zeros(len(mask), mask.shape[1] + 1, dtype=dtype, device=mask.device)
    tokens.scatter_add_(1, line, counts.to(dtype))  # whole numbers: exact in any order
    lines = (tokens > 0).sum(dim=1, keepdim=True).clamp(min=1)
    return counts / (tokens.gather(1, line).clamp(min=1) * lines)
