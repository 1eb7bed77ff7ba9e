"""More of the domains that are being forgotten."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mcpo_rl.data.mixture.curricula.base import DomainFacts, State, check_number
from mcpo_rl.data.mixture.outcome import BatchOutcome


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """The base weights, with those of forgotten domains raised.

    A domain is forgotten while its held-out accuracy is below its best by more than chance explains, as told with each
    outcome (`BatchOutcome.fallen`; the trainer finds it out when it evaluates). With F the forgotten ones and w_k the
    base weights, the share of domain k is

        w_k b_k / sum_j w_j b_j,    b_k = boost for k in F, else 1.

    State: `fallen`, the names of F.
    """

    boost: float = 2.0
    """Factor (>= 1) on the weight of a forgotten domain, for as long as it is one."""
    adaptive = True

    def __post_init__(self) -> None:
        """Check every field."""
        check_number("mixture.curriculum.boost", self.boost, low=1.0, high=math.inf, advice="2 is usual")

    def settings(self) -> dict[str, Any]:
        """Return every field."""
        return asdict(self)

    def start(self, facts: DomainFacts) -> State:
        """Start with nothing forgotten."""
        return {"fallen": []}

    def shares(self, n: int, state: State, facts: DomainFacts) -> Mapping[str, float]:
        """Return the base weights, raised where a domain is forgotten."""
        raised = {
            domain: share * (self.boost if domain in state["fallen"] else 1.0) for domain, share in facts.base.items()
        }
        total = math.fsum(raised.values())
        return {domain: share / total for domain, share in raised.items()}

    def update(self, state: State, outcome: BatchOutcome, facts: DomainFacts) -> State:
        """Take over which domains are forgotten."""
        return {"fallen": sorted(outcome.fallen)}
