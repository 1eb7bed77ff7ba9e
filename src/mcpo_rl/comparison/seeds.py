r"""Estimates over training seeds: means with Student's interval, and paired differences between two methods.

With values x_1 .. x_n of n seeds, mean m and standard deviation s (n - 1 in the denominator), the interval is
$m \pm t_{n-1,\,0.975}\, s / \sqrt n$. It says how much another seed would change; which problems were asked is the
matter of the interval over problems, given beside it or, where seeds cannot give one, in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any, Literal

from mcpo_rl.scores import Estimate

LEVEL = 0.95
FEWEST_SEEDS = 3
"""From so many seeds on a difference can be called clear: two allow an interval, but not a look at what it rests on."""

_ROUNDING = 1e-12
"""Shares that lie closer agree: sums of the same fractions are rounded differently in another order."""

Over = Literal["seeds", "problems"]


@dataclass(frozen=True, kw_only=True)
class SeedEstimate:
    """A mean over training seeds and its 95% interval; all NaN where no seed has a value."""

    value: float
    low: float
    high: float
    over: Over | None
    """What the interval is over: `seeds`, or `problems` where there is one seed or all seeds agree exactly; None where
    there is no interval."""
    seeds: Mapping[int, float]
    """The value of every seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain JSON data; NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        values = {str(seed): _number(value) for seed, value in self.seeds.items()}
        return {name: _number(value) for name, value in numbers.items()} | {"over": self.over, "seeds": values}


@dataclass(frozen=True, kw_only=True)
class SeedDifference(SeedEstimate):
    """One method minus another, seed by seed: both were trained with the same seed, data order and start."""

    p: float | None
    """Two-sided p of the paired t test over the seeds; None with fewer than two, or where all differences agree."""
    problems: Estimate
    """The same difference with its interval over the problems: of every problem the mean over the seeds."""

    @property
    def clear(self) -> bool:
        """Three seeds or more, and both intervals leave 0 out on the same side."""
        if len(self.seeds) < FEWEST_SEEDS or not self.problems.clear:
            return False
        return (self.low > 0 and self.problems.low > 0) or (self.high < 0 and self.problems.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON data."""
        return super().to_json() | {"p": self.p, "clear": self.clear, "problems": self.problems.to_json()}


def over_seeds(values: Mapping[int, float], problems: Estimate | None = None, *, unit: bool = False) -> SeedEstimate:
    """Return the mean of one value per seed.

    Args:
        values: Seed to value; NaN is left out.
        problems: The same quantity with its interval over problems, taken where the seeds give none.
        unit: The values are shares, so the interval ends at 0 and 1.

    Example:
        >>> round(over_seeds({0: 0.5, 1: 0.6, 2: 0.7}).low, 4)
        0.3516
    """
    known = {seed: value for seed, value in sorted(values.items()) if not math.isnan(value)}
    if not known:
        return SeedEstimate(value=math.nan, low=math.nan, high=math.nan, over=None, seeds={})
    mean = fmean(known.values())
    half = _half_width(list(known.values()))
    if half:
        low, high = mean - half, mean + half
        if unit:
            low, high = max(low, 0.0), min(high, 1.0)
        return SeedEstimate(value=mean, low=low, high=high, over="seeds", seeds=known)
    if problems is not None and problems.problems:
        return SeedEstimate(value=mean, low=problems.low, high=problems.high, over="problems", seeds=known)
    return SeedEstimate(value=mean, low=math.nan, high=math.nan, over=None, seeds=known)


def difference_over_seeds(values: Mapping[int, float], problems: Estimate) -> SeedDifference:
    """Return the mean of paired differences.

    Args:
        values: Seed to difference.
        problems: The difference with its interval over problems.
    """
    base = over_seeds(values, problems)
    known = list(base.seeds.values())
    spread = _spread(known)
    p = None
    if spread > 0:
        p = 2 * (1 - student_cdf(abs(base.value) / (spread / math.sqrt(len(known))), len(known) - 1))
    return SeedDifference(
        value=base.value, low=base.low, high=base.high, over=base.over, seeds=base.seeds, p=p, problems=problems
    )


def student_cdf(t: float, freedom: int) -> float:
    r"""Return the distribution function of Student's t.

    For t >= 0 it is $1 - \frac12 I_x(\nu/2, 1/2)$ with $x = \nu / (\nu + t^2)$ and the regularized incomplete beta
    function I (Abramowitz and Stegun 26.7.1).

    Args:
        t: Where.
        freedom: Degrees of freedom nu >= 1.
    """
    from mpmath import betainc  # type: ignore[import-untyped]

    tail = float(betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True)) / 2
    return 1 - tail if t >= 0 else tail


@lru_cache
def student_quantile(probability: float, freedom: int) -> float:
    """Return t with `student_cdf(t, freedom) == probability`, for a probability from 0.5 to below 1.

    Raises:
        ValueError: Another probability, or no degree of freedom.
    """
    if not (0.5 <= probability < 1 and freedom >= 1):
        raise ValueError(f"needs 0.5 <= probability < 1 and freedom >= 1, not {probability=}, {freedom=}.")
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):  # neighbouring floats
            break
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _half_width(values: list[float]) -> float:
    """Return half the width of Student's interval; 0 where the values cannot give one."""
    spread = _spread(values)
    return student_quantile((1 + LEVEL) / 2, len(values) - 1) * spread / math.sqrt(len(values)) if spread else 0.0


def _spread(values: list[float]) -> float:
    """Return the standard deviation; 0 where there is one value or all agree up to rounding."""
    spread = stdev(values) if len(values) > 1 else 0.0
    return spread if spread > _ROUNDING else 0.0


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
