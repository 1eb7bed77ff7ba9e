"""Estimates over problems: unbiased pass@k, means with bootstrap intervals.

The problem, not the completion, is what is resampled: completions of one problem are far from independent.
Axes: n problems, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 5000
SMALLEST_CLEAR = 6
"""Fewer paired problems cannot show a difference at the 95% level: five that all agree happen by chance in 1 of 16."""
_CHUNK = 4_000_000  # numbers drawn at once: bounds the memory whatever n and B are


@dataclass(frozen=True)
class Estimate:
    """A mean over problems and its 95% interval; `value` is NaN where there was no problem to average."""

    value: float
    low: float
    high: float
    problems: int

    @property
    def clear(self) -> bool:
        """For a difference: the interval leaves 0 out, and there are enough problems for that to mean something."""
        return self.problems >= SMALLEST_CLEAR and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, float | int | None]:
        """Return the estimate as plain JSON data; NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{key: None if math.isnan(x) else x for key, x in numbers.items()}, "problems": self.problems}


def pass_at_k(scored: int, correct: int, k: int) -> float:
    r"""Return the unbiased estimate of at least one of `k` completions correct: $1 - \binom{n-c}{k} / \binom{n}{k}$.

    Source: Chen et al., Evaluating Large Language Models Trained on Code (2021), equation 1.

    Args:
        scored: n, the completions that were judged; at least `k`.
        correct: c, how many of them are correct.
        k: The number of tries.

    Raises:
        ValueError: Not 0 <= c <= n or not 1 <= k <= n.
    """
    if not (0 <= correct <= scored and 1 <= k <= scored):
        raise ValueError(f"pass@k needs 0 <= correct <= scored and 1 <= k <= scored, not {correct=}, {scored=}, {k=}.")
    return 1.0 - math.comb(scored - correct, k) / math.comb(scored, k)


def bootstrap_mean(
    values: Sequence[float] | FloatArray, *, unit: bool = True, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return the mean of `values` with a percentile bootstrap interval.

    Args:
        values: (n,) one number per problem.
        unit: The values are scores in [0, 1]. Where all are 0, or all are 1, every resample is the same and the
            bootstrap would claim certainty; Wilson's interval for n problems is given instead. False for differences.
        resamples: B.
        seed: Of the resampling; the same seed gives the same interval.
    """
    array = np.asarray(values, dtype=np.float64)
    return stratified_mean([array], unit=unit, resamples=resamples, seed=seed)


def stratified_mean(
    groups: Sequence[Sequence[float] | FloatArray], *, unit: bool = True, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return the mean of the groups' means (every group weighs the same); the resampling is within the groups.

    Args:
        groups: One (n_g,) array per group (a domain); empty ones are left out.
        unit: As in `bootstrap_mean`.
        resamples: B.
        seed: Of the resampling.
    """
    arrays = [np.asarray(group, dtype=np.float64) for group in groups if len(group)]
    count = sum(len(array) for array in arrays)
    if not arrays:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(np.mean([array.mean() for array in arrays]))
    if unit and value in (0.0, 1.0):
        return Estimate(value, *_wilson(value, count), count)
    generator = np.random.default_rng(seed)
    means = np.mean([_resampled_means(array, resamples, generator) for array in arrays], axis=0)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), count)


def _resampled_means(values: FloatArray, resamples: int, generator: np.random.Generator) -> FloatArray:
    """Return (B,) means of n values drawn with replacement."""
    means = np.empty(resamples)
    rows = max(1, _CHUNK // len(values))
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, len(values), size=(min(rows, resamples - start), len(values)))
        means[start : start + rows] = values[drawn].mean(axis=1)
    return means


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    # At the ends the interval reaches the share itself; rounding must not leave it out.
    return (0.0 if share == 0.0 else centre - half), (1.0 if share == 1.0 else centre + half)
