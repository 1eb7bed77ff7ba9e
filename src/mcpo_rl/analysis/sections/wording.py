"""Numbers and lists as they stand in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mcpo_rl.scores import Estimate


def sign(value: float, places: int = 3) -> str:
    """Return a difference with its sign: '+0.031' or '−0.012'."""
    text = f"{value:+.{places}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "+")


def signed(estimate: Estimate, places: int = 3) -> str:
    """Return a difference with its interval: '+0.031 (−0.012 to +0.074)'."""
    if math.isnan(estimate.low):
        return f"{sign(estimate.value, places)} (no interval)"
    return f"{sign(estimate.value, places)} ({sign(estimate.low, places)} to {sign(estimate.high, places)})"


def interval(estimate: Estimate) -> str:
    """Return an accuracy with its interval: '0.42 (0.38 to 0.47)'."""
    return (
        f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})" if estimate.problems else "nothing judged"
    )


def listed(items: Sequence[str]) -> str:
    """Return 'a', 'a and b' or 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def duration(seconds: float) -> str:
    """Return a time as people say it: '48 s', '12 min', '3.5 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def amount(count: float) -> str:
    """Return a large number in three digits: '812', '46.1k', '1.25M'."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.3g}"
