"""From scores of problems to means over domains and seeds.

The mean of a domain is over its problems, that of several domains gives each the same weight, and seeds come last: a
value per seed is what an interval over seeds rests on. The interval over problems draws, within each domain, problems
with their mean over the seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mcpo_rl.comparison.seeds import SeedDifference, SeedEstimate, difference_over_seeds, over_seeds
from mcpo_rl.scores import Estimate, ProblemScore, stratified_mean

Values = dict[str, dict[tuple[str, int], float]]
"""Domain to problem (its key, and the how manieth of that key) to a number."""


def values_of(scores: Sequence[ProblemScore]) -> Values:
    """Return the share of correct completions of every problem; one on which the verifier always failed is left out."""
    seen: dict[str, int] = defaultdict(int)
    values: Values = defaultdict(dict)
    for score in scores:
        if score.scored:
            values[score.domain][score.key, seen[score.key]] = score.correct / score.scored
        seen[score.key] += 1
    return values


def minus(left: Mapping[int, Values], right: Mapping[int, Values]) -> dict[int, Values]:
    """Return the paired differences, at the seeds, of the domains and problems that both have."""
    return {
        seed: {
            domain: {key: x - right[seed][domain][key] for key, x in own.items() if key in right[seed][domain]}
            for domain, own in left[seed].items()
            if domain in right[seed]
        }
        for seed in left
        if seed in right
    }


def mean_over(domains: Sequence[str], values: Values) -> float:
    """Return the mean over the domains of the mean over their problems; NaN where one of them has none."""
    means = [list(values.get(domain, {}).values()) for domain in domains]
    if not means or not all(means):
        return math.nan
    return math.fsum(math.fsum(own) / len(own) for own in means) / len(means)


def estimate_of(domains: Sequence[str], values: Mapping[int, Values], *, unit: bool = False) -> SeedEstimate:
    """Return the mean over the seeds of `mean_over` the domains, with its interval.

    Args:
        domains: Each weighs the same.
        values: By seed.
        unit: The values are shares.
    """
    means = {seed: mean_over(domains, own) for seed, own in values.items()}
    estimate = over_seeds(means, unit=unit)
    if estimate.over is not None or not estimate.seeds:
        return estimate
    return over_seeds(means, _over_problems(domains, values, unit=unit), unit=unit)


def difference_of(domains: Sequence[str], values: Mapping[int, Values]) -> SeedDifference:
    """Return the same of paired differences, with both intervals and the test over seeds."""
    means = {seed: mean_over(domains, own) for seed, own in values.items()}
    return difference_over_seeds(means, _over_problems(domains, values))


def _over_problems(domains: Sequence[str], values: Mapping[int, Values], *, unit: bool = False) -> Estimate:
    """Return the interval over problems of the mean over seeds: of every problem the mean over the seeds is drawn."""
    groups = []
    for domain in domains:
        of_problem: dict[tuple[str, int], list[float]] = defaultdict(list)
        for own in values.values():
            for key, value in own.get(domain, {}).items():
                of_problem[key].append(value)
        groups.append([math.fsum(own) / len(own) for own in of_problem.values()])
    if not all(groups):  # as `mean_over`: a mean that lacks a domain would be another quantity
        groups = []
    return stratified_mean(groups, unit=unit)
