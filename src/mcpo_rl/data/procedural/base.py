"""What a family of procedural problems is, and how its problems are kept apart for training and evaluation.

A family draws instances at a level of difficulty. An instance knows its question, the reference that its verifier
needs, and how each *strategy* would answer it: `careful` (every step written down, right), `sloppy` (steps merged or
dropped, usually wrong) and `terse` (a bare guess). The traces are what the bundled model is cold-started on;
reinforcement learning never sees them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

HELDOUT_SHARE = 0.1
"""Share of a family's questions that belong to the held-out split."""


class Strategy(StrEnum):
    """A way to answer; the cold start mixes them in shares that differ between the domains."""

    CAREFUL = "careful"
    SLOPPY = "sloppy"
    TERSE = "terse"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One drawn problem."""

    question: str
    """The user message. It determines the problem: equal questions have equal references."""
    reference: Any
    """Plain JSON data in the form that the domain's verifier takes."""
    trace: Callable[[Strategy, Random], str]
    """`trace(strategy, rng)` is a completion in that strategy; `careful` is always correct."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of problem within a domain."""

    name: str
    domain: str
    draw: Callable[[Random, int], Instance]
    """`draw(rng, level)` with level in 1..3; a higher level has more steps or larger numbers."""


def split_of(family: str, question: str) -> str:
    """Return the split that a question belongs to: 'heldout' for a tenth of all questions, else 'train'.

    The split is a function of the question alone, so no seed, level or count can ever put one question into both.
    """
    digest = hashlib.blake2b(f"{family}\n{question}".encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") / 2**64 < HELDOUT_SHARE else "train"
