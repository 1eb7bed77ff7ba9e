r"""Estimates over training seeds: means with Student's interval, and paired differences between two methods.

With values x_1 .. x_n of n seeds, mean m and standard deviation s (n - 1 in the denominator), the interval is
$m \pm t_{n-1,\,0.975}\, s / \sqrt n$. It says how much another seed would change; which problems were asked is the
matter of the interval over problems, given beside it or, where seeds cannot give one, in its place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any, Literal, TypeVar

from mcpo_rl.scores import Estimate, holm, sign_flip_test

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
class PairedEstimate(SeedEstimate):
    """One method minus another, seed by seed: both were trained with the same seed, data order and start."""

    p: float | None
    """Two-sided p of the paired t test over the seeds; None with fewer than two, or where all differences agree."""
    p_sign_flip: float | None = None
    """Two-sided p of the permutation test over the seeds (`sign_flip_test`), exact up to 16 seeds, whatever the
    distribution; None with fewer than two. With n seeds it is at least 2 / 2^n."""
    p_holm: float | None = None
    """`p` adjusted for the family of comparisons that this one belongs to; None where there is no `p`."""
    family: int = 1
    """Number of tests in the family."""
    simultaneous: tuple[float, float] | None = None
    """Interval that, with those of the rest of the family, holds all true differences with 95% confidence (Bonferroni);
    None where there is no interval over seeds."""

    @property
    def clear(self) -> bool:
        """Three seeds or more, the interval leaves 0 out, and so says the test adjusted for its family."""
        told = len(self.seeds) >= FEWEST_SEEDS and (self.low > 0 or self.high < 0)
        return told and (self.p_holm is None or self.p_holm <= 1 - LEVEL + _ROUNDING)

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON data."""
        tests = {"p": self.p, "p_holm": self.p_holm, "p_sign_flip": self.p_sign_flip, "family": self.family}
        both = None if self.simultaneous is None else list(self.simultaneous)
        return super().to_json() | tests | {"simultaneous": both, "clear": self.clear}


@dataclass(frozen=True, kw_only=True)
class SeedDifference(PairedEstimate):
    """A difference in accuracy on the same held-out problems."""

    problems: Estimate
    """The same difference with its interval over the problems: of every problem the mean over the seeds."""

    @property
    def clear(self) -> bool:
        """As of any paired estimate, and the interval over problems leaves 0 out on the same side."""
        same_side = (self.low > 0 and self.problems.low > 0) or (self.high < 0 and self.problems.high < 0)
        return super().clear and self.problems.clear and same_side

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON data."""
        return super().to_json() | {"problems": self.problems.to_json()}


_Key = TypeVar("_Key", bound=Hashable)
_Paired = TypeVar("_Paired", bound=PairedEstimate)


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


def paired_over_seeds(values: Mapping[int, float]) -> PairedEstimate:
    """Return the mean of paired differences, seed to difference."""
    base = over_seeds(values)
    p, exact = _tests(base)
    return PairedEstimate(
        value=base.value, low=base.low, high=base.high, over=base.over, seeds=base.seeds, p=p, p_sign_flip=exact
    )


def difference_over_seeds(values: Mapping[int, float], problems: Estimate) -> SeedDifference:
    """Return the mean of paired differences in accuracy.

    Args:
        values: Seed to difference.
        problems: The difference with its interval over problems.
    """
    base = over_seeds(values, problems)
    p, exact = _tests(base)
    return SeedDifference(
        value=base.value,
        low=base.low,
        high=base.high,
        over=base.over,
        seeds=base.seeds,
        p=p,
        p_sign_flip=exact,
        problems=problems,
    )


def corrected(family: Mapping[_Key, _Paired]) -> dict[_Key, _Paired]:
    r"""Return the differences of a family with what holds for all of them together.

    The p-values are adjusted by `holm`. The simultaneous intervals are Bonferroni's: with K tests
    $m \pm t_{n-1,\,1 - 0.025 / K}\, s / \sqrt n$. A difference without a p (one seed, or seeds that agree) takes no
    part and stays as it is.
    """
    tested = {key: one.p for key, one in family.items() if one.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))

    def with_family(key: _Key, one: _Paired) -> _Paired:
        if key not in adjusted:
            return one
        half = _half_width(list(one.seeds.values()), tests=len(tested))
        both = (one.value - half, one.value + half)
        return replace(one, p_holm=adjusted[key], family=len(tested), simultaneous=both)

    return {key: with_family(key, one) for key, one in family.items()}


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


def _tests(base: SeedEstimate) -> tuple[float | None, float | None]:
    """Return the p of the t test and that of the sign flips."""
    known = list(base.seeds.values())
    if len(known) < 2:
        return None, None
    spread = _spread(known)
    p = 2 * (1 - student_cdf(abs(base.value) / (spread / math.sqrt(len(known))), len(known) - 1)) if spread else None
    return p, sign_flip_test([value if abs(value) > _ROUNDING else 0.0 for value in known])


def _half_width(values: list[float], tests: int = 1) -> float:
    """Return half the width of Student's interval for one of so many tests; 0 where the values cannot give one."""
    spread = _spread(values)
    if not spread:
        return 0.0
    return student_quantile(1 - (1 - LEVEL) / (2 * tests), len(values) - 1) * spread / math.sqrt(len(values))


def _spread(values: list[float]) -> float:
    """Return the standard deviation; 0 where there is one value or all agree up to rounding."""
    spread = stdev(values) if len(values) > 1 else 0.0
    return spread if spread > _ROUNDING else 0.0


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
