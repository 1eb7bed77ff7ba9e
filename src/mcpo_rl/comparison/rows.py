"""A row of the result: what is known of one method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcpo_rl.comparison.learning import Progress
from mcpo_rl.comparison.methods import Method
from mcpo_rl.comparison.outcomes import Cost
from mcpo_rl.comparison.seeds import SeedDifference, SeedEstimate, corrected


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One method minus another, in accuracy: both at the same seeds."""

    method: str
    """The one that is subtracted."""
    domains: dict[str, SeedDifference]
    mean: SeedDifference

    def to_json(self) -> dict[str, Any]:
        """Return the differences as plain JSON data."""
        domains = {name: difference.to_json() for name, difference in self.domains.items()}
        return {"method": self.method, "domains": domains, "mean": self.mean.to_json()}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method."""

    method: str
    definition: Method
    variant: Mapping[str, Any] | None
    """Its definition, where it is no built-in method."""
    seeds: list[int]
    """Those that have finished."""
    missing: dict[int, str]
    """The others, and why."""
    accuracy: dict[str, SeedEstimate]
    mean: SeedEstimate
    """Over the domains that are trained on."""
    gain: dict[str, SeedEstimate]
    """Accuracy less that of the model that training started from."""
    mean_gain: SeedEstimate
    worst_domain_gain: SeedEstimate
    """Of every seed the smallest of the domains' gains."""
    worst_domain: str | None
    """The domain whose gain is the smallest at every seed; None where no domain is."""
    over_single: Differences | None
    against: Differences | None
    """Minus the reference."""
    cost: Cost
    """Per seed, the mean over them."""
    runs: dict[int, dict[str, str]]
    progress: Progress | None = None
    """The learning curves; None where there are none."""

    @property
    def label(self) -> str:
        """The method as it stands in tables."""
        return self.definition.label

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON data."""
        return {
            "method": self.method,
            "label": self.label,
            "about": self.definition.about,
            "variant": None if self.variant is None else dict(self.variant),
            "seeds": self.seeds,
            "missing": {str(seed): reason for seed, reason in self.missing.items()},
            "accuracy": estimates_json(self.accuracy),
            "mean": self.mean.to_json(),
            "gain": estimates_json(self.gain),
            "mean_gain": self.mean_gain.to_json(),
            "worst_domain_gain": self.worst_domain_gain.to_json(),
            "worst_domain": self.worst_domain,
            "over_single": None if self.over_single is None else self.over_single.to_json(),
            "against": None if self.against is None else self.against.to_json(),
            **(self.progress or Progress()).to_json(),
            "cost": _cost_json(self.cost) if self.seeds else None,
            "runs": {str(seed): places for seed, places in self.runs.items()},
        }


def with_families(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their differences corrected for how many there are.

    The methods held against the same other one are a family: in the mean over the domains; and, as a family of its own,
    in all domains, each a test.
    """
    against = _corrected({row.method: row.against for row in rows if row.against is not None})
    single = _corrected({row.method: row.over_single for row in rows if row.over_single is not None})
    return [replace(row, against=against.get(row.method), over_single=single.get(row.method)) for row in rows]


def _corrected(family: Mapping[str, Differences]) -> dict[str, Differences]:
    means = corrected({method: found.mean for method, found in family.items()})
    domains = corrected({(method, d): one for method, found in family.items() for d, one in found.domains.items()})
    return {
        method: replace(found, mean=means[method], domains={d: domains[method, d] for d in found.domains})
        for method, found in family.items()
    }


def _cost_json(cost: Cost) -> dict[str, Any]:
    numbers = {"rollouts": cost.rollouts, "resampled": cost.resampled, "tokens": cost.tokens, "seconds": cost.seconds}
    known = {name: None if math.isnan(value) else round(value, 3) for name, value in numbers.items()}
    domains = {domain: round(value, 3) for domain, value in cost.domains.items()}
    return {"runs": cost.runs, "steps": cost.steps, **known, "rollouts_per_domain": domains}


def estimates_json(estimates: Mapping[str, SeedEstimate]) -> dict[str, Any]:
    """Return estimates by domain as plain JSON data."""
    return {name: estimate.to_json() for name, estimate in estimates.items()}
