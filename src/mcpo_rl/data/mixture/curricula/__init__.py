"""Curricula: what changes the shares of domains or the order of their rows, by name.

Your own: an object with the methods of `Curriculum` or `Ordering`, handed to `MixtureOptions(curriculum=[...])`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mcpo_rl.data.mixture.curricula.base import Curriculum, DomainFacts, Ordering, from_settings
from mcpo_rl.data.mixture.curricula.difficulty import Difficulty
from mcpo_rl.data.mixture.curricula.forgetting import Forgetting
from mcpo_rl.data.mixture.curricula.learnability import Learnability
from mcpo_rl.data.mixture.curricula.schedule import Schedule
from mcpo_rl.data.mixture.curricula.worst_domain import WorstDomain

CURRICULA: dict[str, Callable[[Mapping[str, Any], str], Curriculum | Ordering]] = {
    "schedule": partial(from_settings, Schedule),
    "difficulty": partial(from_settings, Difficulty),
    "worst_domain": partial(from_settings, WorstDomain),
    "learnability": partial(from_settings, Learnability),
    "forgetting": partial(from_settings, Forgetting),
}
"""Name -> what builds it from a recipe's settings and the prefix that messages name them with."""

__all__ = [
    "CURRICULA",
    "Curriculum",
    "Difficulty",
    "DomainFacts",
    "Forgetting",
    "Learnability",
    "Ordering",
    "Schedule",
    "WorstDomain",
]
