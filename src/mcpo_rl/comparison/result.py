"""The result of a comparison: a row per method, with means over seeds, gains, paired differences and costs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcpo_rl.comparison.averages import Values, difference_of, estimate_of, mean_over, minus, values_of
from mcpo_rl.comparison.learning import Progress, Targets, progress_of
from mcpo_rl.comparison.methods import BUDGETS
from mcpo_rl.comparison.outcomes import (
    Cost,
    Outcome,
    check_equal,
    check_samples,
    hand_out_starts,
    read_outcome,
    start_of,
)
from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.rows import Differences, Row, estimates_json, with_families
from mcpo_rl.comparison.seeds import LEVEL, SeedEstimate, over_seeds
from mcpo_rl.errors import ConfigError
from mcpo_rl.runs.files import write_text
from mcpo_rl.runs.manifest import now
from mcpo_rl.scores import ProblemScore

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Everything that the tables and the report show."""

    plan: Plan
    reference: str | None
    """The method that the others are held against."""
    domains: list[str]
    """Those that are trained on and evaluated; averages are over them."""
    untrained: list[str]
    """Those that are evaluated only."""
    start: dict[str, SeedEstimate]
    """Accuracy of the model that training started from."""
    start_mean: SeedEstimate
    rows: list[Row]
    targets: Targets
    """What the learning curves are asked to reach."""
    remarks: list[str]

    @property
    def complete(self) -> bool:
        """Whether every method has finished at every seed."""
        return not any(row.missing for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return what comparison.json holds."""
        plan = self.plan
        return {
            "format": FORMAT,
            "created": now(),
            "complete": self.complete,
            "model": plan.recipe["model"],
            "methods": list(plan.methods),
            "seeds": list(plan.seeds),
            "own_seeds": {name: list(own) for name, own in plan.own_seeds.items()},
            "reference": self.reference,
            "level": LEVEL,
            "domains": self.domains,
            "untrained": self.untrained,
            "budget": {
                "convention": plan.budget,
                "text": BUDGETS[plan.budget],
                "steps": plan.steps,
                "rollouts_per_step": plan.rollouts_per_step,
                "shares": dict(plan.shares),
                "order": list(plan.order),
            },
            "start": {
                "accuracy": estimates_json(self.start),
                "mean": self.start_mean.to_json(),
                "runs": {str(seed): f"runs/{name}" for seed, name in plan.starts.items()},
            },
            "targets": self.targets.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "remarks": self.remarks,
        }

    def save(self) -> None:
        """Write comparison.json into the comparison's directory.

        Raises:
            RunError: It could not be written.
        """
        write_text(self.plan.path / "comparison.json", json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")


def collect(
    plan: Plan, *, reference: str | None = None, target: float | None = None, window: int | None = None
) -> ComparisonResult:
    """Read what the runs of a comparison left, however many have finished.

    Args:
        plan: The comparison.
        reference: The method that the others are held against; None takes `grpo`, or else the first of the plan.
        target: The accuracy that learning curves are asked to reach; None takes halfway of what the reference gains.
        window: Over so many steps the trailing mean has to reach it; None takes a tenth of the steps.

    Raises:
        ConfigError: A reference that is not part of the comparison.
        ProblemError: Runs were evaluated on different problems.
        RunError: A file is damaged.
    """
    reference = reference or ("grpo" if "grpo" in plan.methods else plan.methods[0])
    if reference not in plan.methods:
        raise ConfigError(f"--against {reference}: the comparison has {', '.join(plan.methods)}.")
    hand_out_starts(plan)
    found = {
        (method, seed): read_outcome(plan, method, seed) for method in plan.methods for seed in plan.seeds_of(method)
    }
    outcomes = {key: outcome for key, outcome in found.items() if isinstance(outcome, Outcome)}
    check_equal(list(outcomes.values()))
    starts = {seed: record.scores for seed in plan.seeds if (record := start_of(plan, seed)) is not None}
    evaluated = {score.domain for outcome in outcomes.values() for score in outcome.scores}
    evaluated |= {score.domain for scores in starts.values() for score in scores}
    domains = sorted(evaluated & set(plan.order))
    finished = {method: sorted(s for m, s in outcomes if m == method) for method in plan.methods}
    progress, targets = progress_of(plan, finished, domains, reference, target=target, window=window)
    table = _Table(plan, reference, domains, sorted(evaluated - set(plan.order)), outcomes, starts, progress)
    reasons = {key: reason for key, reason in found.items() if isinstance(reason, str)}
    unseen = sorted(set(plan.order) - evaluated) if evaluated else []
    said = [f"No held-out problem is of {', '.join(unseen)}: what is trained there is not seen."] if unseen else []
    start = {domain: table.accuracy(starts, domain) for domain in [*domains, *table.untrained]}
    return ComparisonResult(
        plan=plan,
        reference=reference,
        domains=domains,
        untrained=table.untrained,
        start=start,
        start_mean=table.mean_accuracy(starts),
        rows=with_families(
            [table.row(method, {s: r for (m, s), r in reasons.items() if m == method}) for method in plan.methods]
        ),
        targets=targets,
        remarks=[*plan.remarks, *check_samples(list(outcomes.values())), *said],
    )


@dataclass(frozen=True)
class _Table:
    plan: Plan
    reference: str
    domains: list[str]
    untrained: list[str]
    outcomes: Mapping[tuple[str, int], Outcome]
    starts: Mapping[int, Sequence[ProblemScore]]
    progress: Mapping[str, Progress]

    def scores(self, method: str) -> dict[int, Sequence[ProblemScore]]:
        return {seed: outcome.scores for (name, seed), outcome in self.outcomes.items() if name == method}

    def accuracy(self, scores: Mapping[int, Sequence[ProblemScore]], domain: str) -> SeedEstimate:
        values = {seed: values_of(own) for seed, own in scores.items()}
        return estimate_of([domain], values, unit=True)

    def mean_accuracy(self, scores: Mapping[int, Sequence[ProblemScore]]) -> SeedEstimate:
        return estimate_of(self.domains, {seed: values_of(own) for seed, own in scores.items()}, unit=True)

    def row(self, method: str, missing: dict[int, str]) -> Row:
        own = self.scores(method)
        values = {seed: values_of(scores) for seed, scores in own.items()}
        gains = minus(values, {seed: values_of(scores) for seed, scores in self.starts.items()})
        gain = {domain: estimate_of([domain], gains) for domain in self.domains}
        smallest = {
            seed: min((mean_over([d], own) for d in self.domains), default=math.nan) for seed, own in gains.items()
        }
        worst = over_seeds(smallest)
        # Where it is now one and now another, the mean of the smallest gains is that of no domain.
        always = [domain for domain, own in gain.items() if math.isclose(own.value, worst.value, abs_tol=1e-9)]
        return Row(
            method=method,
            definition=self.plan.method(method),
            variant=self.plan.variants.get(method),
            seeds=sorted(own),
            missing=missing,
            accuracy={domain: self.accuracy(own, domain) for domain in [*self.domains, *self.untrained]},
            mean=self.mean_accuracy(own),
            gain=gain,
            mean_gain=estimate_of(self.domains, gains),
            worst_domain_gain=worst,
            worst_domain=next(iter(always), None),
            over_single=None if method == "single" else self.differences(values, "single"),
            against=None if method == self.reference else self.differences(values, self.reference),
            cost=_mean_cost([outcome.cost for (name, _), outcome in self.outcomes.items() if name == method]),
            runs={seed: outcome.runs for (name, seed), outcome in self.outcomes.items() if name == method},
            progress=self.progress.get(method),
        )

    def differences(self, values: Mapping[int, Values], other: str) -> Differences | None:
        """Return `values` minus those of `other`, at the seeds that both have; None where there is none."""
        pairs = minus(values, {seed: values_of(scores) for seed, scores in self.scores(other).items()})
        if not pairs:
            return None
        return Differences(
            method=other,
            domains={domain: difference_of([domain], pairs) for domain in self.domains},
            mean=difference_of(self.domains, pairs),
        )


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    total = Cost()
    for cost in costs:
        total = total.plus(cost)
    count = max(len(costs), 1)
    return Cost(
        runs=total.runs // count,
        steps=total.steps // count,
        rollouts=total.rollouts / count,
        domains={domain: value / count for domain, value in total.domains.items()},
        resampled=total.resampled / count,
        tokens=total.tokens / count,
        seconds=total.seconds / count,
    )
