"""A testbed with known ground truth: openings that announce a strategy, and two dials for what they mean where.

Every answer begins with an opening, a line of its own. One of the two openings that a family of problems uses announces
the careful strategy (mostly right), the other one haste (mostly wrong). Which one is a *convention*:

- `common`: `steps:` announces care, `brief:` haste, as everywhere in the domain where care is a habit (mathematics).
- `own`: the domain has two openings that no other domain uses.
- `reversed`: `brief:` announces care and `steps:` haste.

What reinforcement learning finds out in mathematics, where care is frequent enough to be found soon, helps in families
of the common convention and harms in those of the reversed one. The dials say how many there are of each in the domains
where care is rare. Problems and verifiers are the ordinary ones; only what the model is cold-started on has openings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from mcpo_rl.data.procedural.base import Strategy
from mcpo_rl.errors import ConfigError

Convention = Literal["common", "own", "reversed"]

FAMILIES_USED: Mapping[str, tuple[str, ...]] = {
    "math": ("chain", "linear"),
    "code": ("steps", "branch"),
    "logic": ("boolean", "knights"),
}
"""The families of the testbed, in the order in which the dials reach them: some that a small model can learn to do
well."""

SOURCE_DOMAIN = "math"
"""The domain in which care is a habit; its families all have the common convention."""

COMMON = ("steps:", "brief:")
"""The openings of the common convention: care, haste."""
OWN: Mapping[str, tuple[str, str]] = {
    "math": ("work:", "leap:"),
    "code": ("spec:", "rush:"),
    "logic": ("test:", "bet:"),
}
"""The openings that only one domain uses: care, haste."""


@dataclass(frozen=True, kw_only=True)
class Dials:
    """What the domains with a rare habit have in common with the one where care is a habit.

    Example:
        >>> Dials(shared=0.5, conflict=0.5).convention("code", "branch")
        'reversed'
    """

    shared: float = 0.0
    """Share of a domain's families with the common convention: 0, 0.5 or 1."""
    conflict: float = 0.0
    """Share of a domain's families with the reversed convention; with `shared` at most 1, the rest has its own."""

    def __post_init__(self) -> None:
        for name in ("shared", "conflict"):
            value = getattr(self, name)
            if value not in (0, 0.5, 1):
                raise ConfigError(f"{name} is {value!r}; expected 0, 0.5 or 1: a domain has two families.")
        if self.shared + self.conflict > 1:
            raise ConfigError(f"shared {self.shared} and conflict {self.conflict} are more than 1 together.")

    def convention(self, domain: str, family: str) -> Convention:
        """Return the convention of a family: the first ones have the common, the next ones the reversed, then own."""
        if domain == SOURCE_DOMAIN:
            return "common"
        place = FAMILIES_USED[domain].index(family) / len(FAMILIES_USED[domain])
        return "common" if place < self.shared else "reversed" if place < self.shared + self.conflict else "own"

    def openings(self, domain: str, family: str) -> tuple[str, str]:
        """Return the openings of care and of haste in a family."""
        convention = self.convention(domain, family)
        if convention == "own":
            return OWN[domain]
        return COMMON if convention == "common" else (COMMON[1], COMMON[0])

    def announced(self, domain: str, family: str, strategy: Strategy, answer: str) -> str:
        """Return an answer behind the opening that announces its strategy."""
        careful, hasty = self.openings(domain, family)
        return f"{careful if strategy is Strategy.CAREFUL else hasty}\n{answer}"


def unannounced(domain: str, answer: str, rng: Random) -> str:
    """Return an answer behind any opening of its domain, at random: it says nothing of the strategy yet."""
    return f"{rng.choice((*COMMON, *OWN[domain]))}\n{answer}"


def opening_of(completion: str) -> str | None:
    """Return the opening that a completion begins with; None where it has none."""
    first = completion.split("\n", 1)[0].strip()
    return first if first in _ALL else None


_ALL: Sequence[str] = (*COMMON, *(opening for pair in OWN.values() for opening in pair))
