"""The representation map: rollouts of all steps of a run in one plane.

Axes: n rollouts over all steps, w width of the representation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mcpo_rl.runs import RolloutBatch

Space = Literal["features", "embeddings"]
FloatArray = npt.NDArray[np.float64]

MOST_FITTED = 1500
"""Rows that the axes are fitted on, evenly over all steps: decomposing more takes long and moves little."""


@dataclass(frozen=True)
class Projection:
    """Two coordinates per rollout; the axes are the same for every step, so a point that moves has moved."""

    coordinates: list[FloatArray]
    """One (N, 2) array per batch, in their order; rows of NaN where a representation was missing or not finite."""
    explained: tuple[float, float]
    """Share of the variance along each axis."""


def project(batches: Sequence[RolloutBatch], space: Space) -> Projection | None:
    """Project the representations of all `batches` onto their first two principal components, fitted jointly.

    Each representation is scaled to length 1 before, as the method compares directions; then their mean is taken out.

    Args:
        batches: Kept rollouts, any number of steps.
        space: `features` (the policy's pooled hidden states) or `embeddings` (the contrastive head's outputs).

    Returns:
        The projection, or None where fewer than three rollouts have a usable representation.
    """
    arrays = [getattr(batch, space) for batch in batches]
    widths = Counter(array.shape[1] for array in arrays if array is not None and len(array))
    if not widths:
        return None
    width = widths.most_common(1)[0][0]  # a run resumed with another layer keeps the larger part
    units = [
        np.full((len(batch), width), np.nan) if array is None or array.shape[1] != width else _unit_rows(array)
        for batch, array in zip(batches, arrays, strict=True)
    ]
    rows = np.concatenate(units)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 3 or width < 2:
        return None
    mean, axes, explained = principal_axes(rows)
    return Projection([(unit - mean) @ axes for unit in units], explained)


def principal_axes(rows: FloatArray) -> tuple[FloatArray, FloatArray, tuple[float, float]]:
    """Return mean (w,), first two principal axes (w, 2) and their shares of the variance, for (n, w) `rows`."""
    mean = rows.mean(axis=0)
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_FITTED)).round().astype(int)
    _, singular, directions = np.linalg.svd(rows[chosen] - mean, full_matrices=False)
    axes = directions[:2].T
    # The sign of a singular vector is arbitrary; fixed, so that the same run always gives the same picture.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    variance = singular**2
    total = float(variance.sum())
    shares = variance[:2] / total if total > 0 else np.zeros(2)
    return mean, axes, (float(shares[0]), float(shares[1]))


def _unit_rows(array: npt.NDArray[np.float32]) -> FloatArray:
    """Return the (N, w) rows at length 1; a row of zeros, or one that is not finite, becomes NaN."""
    rows = array.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.full_like(rows, np.nan)
    np.divide(rows, lengths, out=unit, where=np.isfinite(lengths) & (lengths > 0))
    return unit
