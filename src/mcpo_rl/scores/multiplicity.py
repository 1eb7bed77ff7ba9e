"""Several tests at once: p-values adjusted so that the family as a whole rarely says something false."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return the p-values adjusted by Holm's step-down procedure, in the order given.

    With $p_{(1)} \le \dots \le p_{(m)}$ the adjusted value of the i-th smallest is

    $$\tilde p_{(i)} = \max_{j \le i} \min\big(1, (m - j + 1)\, p_{(j)}\big)$$

    Calling those at most 0.05 significant makes a false claim with a probability of at most 0.05, whichever of the
    hypotheses are true and however the tests depend on each other. It finds all that Bonferroni's $m p$ finds.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).

    Args:
        p_values: (m,) of one family, each from 0 to 1.

    Raises:
        ValueError: A number that is no probability.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1, not {list(p_values)}.")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
