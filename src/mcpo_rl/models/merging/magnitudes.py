"""The k-th largest magnitude of a whole model's delta, exactly, in two passes over it and constant memory.

The bits of a non-negative float32, read as an integer, are in the order of the numbers: so a histogram over the upper
16 bits finds the range that the k-th largest lies in, and one over the lower 16 bits of that range the number itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_HALF = 1 << 16


def kth_largest_magnitudes(
    specialists: int, stretches: Callable[[], Iterable[Tensor]], count: Callable[[int], int]
) -> Tensor:
    """Return for each specialist the smallest magnitude among the largest of its delta: (S,) float32.

    Args:
        specialists: S.
        stretches: gives all deltas anew at each call, as pieces (S, E).
        count: from the number of elements to how many of the largest there are.

    Example:
        >>> kth_largest_magnitudes(1, lambda: [torch.tensor([[0.5, -3.0]]), torch.tensor([[2.0]])], lambda n: 2)
        tensor([2.])
    """
    upper = torch.zeros(specialists, _HALF, dtype=torch.int64)
    for piece in stretches():
        for row, bits in zip(upper, _bits(piece), strict=True):
            row += torch.bincount(bits >> 16, minlength=_HALF)
    elements = int(upper[0].sum())
    wanted = torch.full((specialists,), count(elements))
    ranges, above = _from_above(upper, wanted)
    lower = torch.zeros(specialists, _HALF, dtype=torch.int64)
    for piece in stretches():
        for row, bits, chosen in zip(lower, _bits(piece), ranges.tolist(), strict=True):
            row += torch.bincount(bits[bits >> 16 == chosen] & (_HALF - 1), minlength=_HALF)
    places, _ = _from_above(lower, wanted - above)
    return ((ranges << 16) | places).to(torch.int32).view(torch.float32)


def _bits(values: Tensor) -> Tensor:
    return values.abs().to(torch.float32).contiguous().view(torch.int32).long()


def _from_above(histograms: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return (S,) the bin that holds the `wanted`-th largest, and how many lie in the bins above it."""
    at_least = histograms.flip(1).cumsum(dim=1).flip(1)  # elements in this bin and above
    bins = (at_least >= wanted[:, None]).sum(dim=1) - 1
    above = at_least.gather(1, bins[:, None]).flatten() - histograms.gather(1, bins[:, None]).flatten()
    return bins, above
