"""A paired test without assumptions on how differences are distributed: their signs are drawn anew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mcpo_rl.scores.estimators import FloatArray

ENUMERATED = 16
"""Differences up to which all 2^n signs are looked at."""
DRAWS = 20_000
_ROUNDING = 1e-9  # relative: sums that are equal on paper must count as equal


def sign_flip_test(differences: Sequence[float] | FloatArray, *, draws: int = DRAWS, seed: int = 0) -> float:
    r"""Return the two-sided p-value of the paired permutation test for a sum of differences.

    If the two sides were exchangeable problem by problem, each difference could as well have had the other sign. The
    p-value is the share of the $2^n$ sign patterns whose sum is at least as far from 0 as the one found:

    $$p = \Pr_{s \in \{-1, 1\}^n}\left(\Big|\sum_i s_i d_i\Big| \ge \Big|\sum_i d_i\Big|\right)$$

    Where all differences other than 0 have one size (one completion per problem) this is the exact McNemar test, and is
    computed as its binomial; up to 16 differences are enumerated; beyond, patterns are drawn and
    $p = (1 + \text{hits}) / (1 + \text{draws})$, so that it is never 0.

    Source: Fisher (1935); for system comparisons Yeh, More accurate tests for the statistical significance of result
    differences (2000).

    Args:
        differences: (n,) one number per problem. To test a weighted mean, give the weighted differences.
        draws: Sign patterns drawn where they are not enumerated.
        seed: Of the drawing.

    Example:
        >>> sign_flip_test([1, 1, 1, 1, 1, 1])  # all six agree: 2 of 64 patterns are as extreme
        0.03125
    """
    array = np.asarray(differences, dtype=np.float64)
    sizes, counts = np.unique(np.abs(array[array != 0.0]), return_counts=True)
    total = int(counts.sum())
    if not total:
        return 1.0
    if len(sizes) == 1:
        most = max(int((array > 0).sum()), int((array < 0).sum()))
        tail = sum(math.comb(total, number) for number in range(most, total + 1))
        return min(1.0, float(2 * tail / 2**total))
    found = abs(float(array.sum())) - _ROUNDING * float(np.abs(array).sum())
    if total <= ENUMERATED:
        sums = np.zeros(1)
        for size in np.repeat(sizes, counts):
            sums = np.concatenate([sums + size, sums - size])
        return float((np.abs(sums) >= found).mean())
    generator = np.random.default_rng(seed)
    # Of m differences of one size the number with a positive sign is binomial: no need to draw every sign.
    positive = generator.binomial(counts, 0.5, size=(draws, len(sizes)))
    sums = (2 * positive - counts) @ sizes
    return (1 + int((np.abs(sums) >= found).sum())) / (1 + draws)
