"""What the scoring of a batch says of each domain: all that a curriculum learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mcpo_rl.errors import RunError, nearest

_FALLEN = ""
"""Where `to_json` keeps `fallen` among the domains: no domain has an empty name."""


@dataclass(frozen=True, kw_only=True)
class DomainOutcome:
    """One domain in one scored batch, its replacements included.

    Raises:
        RunError: a value that cannot be.
    """

    groups: int
    """Groups (prompts) of the domain that were scored."""
    informative: int
    """Groups whose rewards are not all equal: the others have no gradient."""
    accuracy: float | None
    """Mean over the groups of the share of correct completions, in [0, 1]; None where nothing could be judged."""
    variance: float | None = None
    """Mean over the groups of p (1 - p), p the group's share of correct completions. None: taken from `accuracy`, which
    is too much where a domain has prompts that always succeed beside prompts that never do."""

    def __post_init__(self) -> None:
        """Check every field."""
        if not 0 <= self.informative <= self.groups:
            raise RunError(f"A domain's outcome has {self.informative} informative groups of {self.groups}.")
        for name, largest in (("accuracy", 1.0), ("variance", 0.25)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0.0 <= value <= largest):
                raise RunError(f"A domain's outcome has {name} {value!r}; expected a number in [0, {largest:g}].")

    @property
    def success_variance(self) -> float | None:
        """`variance`, or accuracy (1 - accuracy) where only that is known."""
        if self.variance is not None or self.accuracy is None:
            return self.variance
        return self.accuracy * (1.0 - self.accuracy)


@dataclass(frozen=True, kw_only=True)
class BatchOutcome:
    """The outcome of one generation batch, the same on every rank. A domain that had no group may be missing."""

    domains: Mapping[str, DomainOutcome]
    fallen: frozenset[str] = frozenset()
    """Domains whose held-out accuracy was, at the latest evaluation, below its best by more than chance explains."""

    def check(self, known: Mapping[str, Any]) -> None:
        """Refuse domains that the mixture does not have."""
        for name in self.domains:
            if name not in known:
                raise RunError(
                    f"The outcome of a batch names the domain {name!r}; the mixture has {', '.join(known)}."
                    f"{nearest(name, known)}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which `from_json` makes the same outcome."""
        fallen = {_FALLEN: sorted(self.fallen)} if self.fallen else {}
        return {**{name: asdict(outcome) for name, outcome in self.domains.items()}, **fallen}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BatchOutcome:
        """Undo `to_json`."""
        domains = {name: DomainOutcome(**fields) for name, fields in data.items() if name != _FALLEN}
        return cls(domains=domains, fallen=frozenset(data.get(_FALLEN, ())))
