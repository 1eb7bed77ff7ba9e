r"""Learning curves: how well the rollouts of every step did, before the update that was made from them.

a_t is the accuracy of the rollouts of step t (`domain/<D>/accuracy`); where no problem is seen twice it is accuracy on
problems that the model has not been trained on. Of a run of S steps

- the area under the curve is the mean over the steps, $A = \frac1S \sum_t a_t$;
- a target is reached at the first step t >= k at which the trailing mean over k steps, $\frac1k \sum_{u=t-k+1}^t a_u$,
  is at least the target. A run that ends before has not reached it, and counts as that.

A line of the log that averages several batches counts as so many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mcpo_rl.comparison.outcomes import counted
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.runs import RunDirectory

MEAN = ""
"""In the place of a domain: the mean over the domains, at the steps at which all have a value."""


@dataclass(frozen=True)
class Point:
    """One line of the log."""

    step: int
    count: int
    """Generation batches that it averages."""
    accuracy: float


Curve = Sequence[Point]
"""Of one run and domain, by step."""

Curves = Mapping[str, Curve]
"""Domain, and `MEAN`, to curve."""


@dataclass(frozen=True, kw_only=True)
class StepsToTarget:
    """When the runs of one method reached a target."""

    target: float
    seeds: Mapping[int, int | None]
    """The step; None where the run ended before it reached the target."""

    @property
    def reached(self) -> int:
        """How many runs reached it."""
        return sum(step is not None for step in self.seeds.values())

    @property
    def median(self) -> int | None:
        """The first step at which half of the runs, or more, had reached it; None where fewer did."""
        steps = sorted(step for step in self.seeds.values() if step is not None)
        half = math.ceil(len(self.seeds) / 2)
        return steps[half - 1] if half and len(steps) >= half else None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        counts = {"target": self.target, "median": self.median, "reached": self.reached, "of": len(self.seeds)}
        return counts | {"seeds": {str(seed): step for seed, step in self.seeds.items()}}


def read_curves(plan: Plan, method: str, seed: int, domains: Sequence[str]) -> dict[str, Curve]:
    """Return the learning curves of a method at a seed; none where it has no such curve.

    There is one where a run on the mixture, or a domain's specialist, makes as many steps as every other: not of merged
    models, and not of stages or specialists that take fewer steps.

    Args:
        plan: The comparison.
        method: One of its methods.
        seed: One of the method's seeds; its runs have finished.
        domains: Those to look at.

    Raises:
        RunError: A file is damaged.
    """
    kind = plan.method(method).kind
    tasks = [task for task in plan.of(method, seed) if task.steps == plan.steps]
    if kind not in ("mixed", "single") or not tasks:
        return {}
    curves: dict[str, Curve] = {}
    for task in tasks:
        rows = RunDirectory(plan.run(task)).read_metrics()
        own = [task.domain] if task.domain is not None else domains
        curves |= {name: curve for name in own if name in domains and (curve := _curve(rows, name, task))}
    if len(curves) == len(domains):
        curves[MEAN] = _mean(list(curves.values()))
    return {name: curve for name, curve in curves.items() if curve}


def area(curve: Curve) -> float:
    """Return the mean accuracy over the steps; NaN without a step.

    Example:
        >>> area([Point(1, 1, 0.25), Point(4, 3, 0.5)])
        0.4375
    """
    steps = sum(point.count for point in curve)
    return math.fsum(point.count * point.accuracy for point in curve) / steps if steps else math.nan


def levels(curve: Curve, window: int) -> list[tuple[int, float]]:
    """Return the trailing means: at every step from `window` on that has a line, the mean over the last `window` steps.

    Args:
        curve: By step.
        window: k, in optimizer steps; lines further apart stand for themselves.

    Example:
        >>> levels([Point(1, 1, 0.0), Point(2, 1, 0.5), Point(3, 1, 1.0)], 2)
        [(2, 0.25), (3, 0.75)]
    """
    ends = [place for place, point in enumerate(curve) if point.step >= window]
    return [
        (curve[end].step, area([point for point in curve[: end + 1] if point.step > curve[end].step - window]))
        for end in ends
    ]


def first_reached(curve: Curve, target: float, window: int) -> int | None:
    """Return the first step at which the trailing mean is at least the target; None where it never is."""
    return next((step for step, level in levels(curve, window) if level >= target - 1e-9), None)


def halfway(curves: Iterable[Curve], window: int) -> float | None:
    """Return the level halfway between the first and the last trailing mean, each averaged over the curves.

    None where there is no curve, or they do not rise.
    """
    ends = [(own[0][1], own[-1][1]) for own in (levels(curve, window) for curve in curves) if own]
    if not ends:
        return None
    first, last = fmean(first for first, _ in ends), fmean(last for _, last in ends)
    return (first + last) / 2 if last > first else None


def _curve(rows: Sequence[Mapping[str, Any]], domain: str, task: Task) -> Curve:
    # A batch without a judged rollout of the domain has its share and no accuracy: it counts as a batch, and not here.
    accuracy, share = f"domain/{domain}/accuracy", f"domain/{domain}/share"
    lines = [{**row, accuracy: row.get(accuracy, math.nan)} for row in rows if accuracy in row or share in row]
    found = counted(lines, accuracy, task.generations_per_step)
    return [Point(step, count, value) for step, count, value in found if count > 0 and math.isfinite(value)]


def _mean(curves: Sequence[Curve]) -> Curve:
    by_step = [{point.step: point for point in curve} for curve in curves]
    return [
        Point(step, point.count, fmean(own[step].accuracy for own in by_step))
        for step, point in by_step[0].items()
        if all(step in own for own in by_step)
    ]
