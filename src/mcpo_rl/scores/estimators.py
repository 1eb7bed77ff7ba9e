"""Estimates over problems: unbiased pass@k and maj@k, means with bootstrap intervals.

The problem, not the completion, is what is resampled: completions of one problem are far from independent.
Axes: n problems, B resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 5000
SMALLEST_CLEAR = 6
"""Fewer paired problems cannot show a difference at the 95% level: five that all agree happen by chance in 1 of 16."""
MOST_VOTES = 1000
"""Completions of one problem up to which maj@k is computed: beyond, the numbers of ways leave the range of a float."""
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


def maj_at_k(scored: int, right: Sequence[int], wrong: Sequence[int], k: int) -> float:
    r"""Return the unbiased estimate of how often the answer that most of `k` completions give is right.

    Of the n completions k are drawn without replacement, in each of the $\binom{n}{k}$ ways with the same probability;
    the drawn completions vote, and answers with equally many votes share the win evenly. With $X_j$ the votes of
    answer j and $v = \max_j X_j$:

    $$\mathrm{maj@}k = \mathbb{E}\left[\frac{\#\{j \text{ right}: X_j = v\}}{\#\{j: X_j = v\}}\right]$$

    with 0 where no drawn completion has an answer. For k = n this is the vote over all completions. The expectation is
    computed exactly: for each v, the ways to draw k are counted by how many answers reach v.

    Source: majority voting is self-consistency, Wang et al. (2023); drawing k of n as Chen et al. (2021) do for pass@k.

    Args:
        scored: n, the completions that were judged; those beyond the sum of `right` and `wrong` gave no answer.
        right: How many completions gave each of the right answers (one number where all right answers are the same).
        wrong: The same for each of the wrong answers.
        k: The number of votes.

    Raises:
        ValueError: More votes than completions, a number below 1, not 1 <= k <= n, or n above 1000.

    Example:
        >>> maj_at_k(4, right=[2], wrong=[1, 1], k=4)
        1.0
        >>> maj_at_k(4, right=[2], wrong=[2], k=4)  # a tie
        0.5
    """
    silent = scored - sum(right) - sum(wrong)
    if silent < 0 or min([*right, *wrong], default=1) < 1 or not 1 <= k <= scored or scored > MOST_VOTES:
        raise ValueError(
            f"maj@k needs votes of at least 1 each, no more of them than scored, 1 <= k <= scored <= {MOST_VOTES}, "
            f"not {scored=}, right={list(right)}, wrong={list(wrong)}, {k=}."
        )
    return _vote(scored, tuple(sorted(right)), tuple(sorted(wrong)), k)


@lru_cache(maxsize=1 << 16)
def _vote(scored: int, right: tuple[int, ...], wrong: tuple[int, ...], k: int) -> float:
    """Return maj@k; kept, since a problem is in its domain, its source and all problems."""
    silent = scored - sum(right) - sum(wrong)
    if k == 1:
        return sum(right) / scored
    if k == scored:
        most = max([*right, *wrong], default=0)
        return right.count(most) / (right.count(most) + wrong.count(most)) if most else 0.0
    won = 0.0
    for most in range(1, min(k, max([*right, *wrong], default=0)) + 1):
        # ways[t, w, s]: ways to draw s so far, with t right and w wrong answers at `most` votes and none above.
        ways = np.zeros((1, 1, k + 1))
        ways[0, 0, : silent + 1] = _choices(silent, k)
        for count in right:
            ways = _with_answer(ways, count, most, axis=0)
        for count in wrong:
            ways = _with_answer(ways, count, most, axis=1)[:, : k // most + 1]  # more answers cannot have that many
        drawn = ways[:, :, k]  # (right at the top, wrong at the top)
        tops = np.add.outer(np.arange(drawn.shape[0]), np.arange(drawn.shape[1]))
        share = np.arange(drawn.shape[0])[:, None] / np.maximum(tops, 1)
        won += float((drawn * share).sum())
    return won / math.comb(scored, k)


def _choices(count: int, most: int) -> FloatArray:
    """Return the binomial coefficients of `count` over 0, 1, ... up to `most`."""
    return np.array([math.comb(count, number) for number in range(min(count, most) + 1)], dtype=np.float64)


def _with_answer(ways: FloatArray, count: int, most: int, *, axis: int) -> FloatArray:
    """Return `ways` with one more answer that `count` completions gave; `axis` counts those at `most` votes."""
    size = ways.shape[2]
    terms = _choices(count, min(most, size - 1))
    grown = np.zeros([length + (number == axis and len(terms) > most) for number, length in enumerate(ways.shape)])
    for votes, term in enumerate(terms):
        shifted = term * ways[:, :, : size - votes]
        step = int(votes == most)
        rights, wrongs = (step, 0) if axis == 0 else (0, step)
        grown[rights : rights + ways.shape[0], wrongs : wrongs + ways.shape[1], votes:] += shifted
    return grown


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
    levels, counts = np.unique(values, return_counts=True)
    if 4 * len(levels) <= len(values):  # a few scores that recur: how often each is drawn is multinomial, and fast
        drawn = generator.multinomial(len(values), counts / len(values), size=resamples)
        few: FloatArray = drawn @ levels / len(values)
        return few
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
