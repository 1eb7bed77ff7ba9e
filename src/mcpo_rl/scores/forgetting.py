"""Which domains have fallen below their best: held-out evaluations of one run, compared as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.scores.permutation import sign_flip_test

Rates = Mapping[str, float]
"""Share of correct completions of every judged problem, by its key."""

LEVEL = 0.05
"""At most this is the chance of a false alarm in one evaluation, over all domains."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One domain in one evaluation."""

    accuracy: float
    """Mean over the problems."""
    best: float
    """The highest accuracy up to now, this evaluation among them."""
    best_step: int
    """When that was; the first time where it was reached several times."""
    p_value: float
    """Of the paired test of this evaluation against the best one, times the number of tests that could have raised an
    alarm (Bonferroni): the domains, and the earlier evaluations that the best one was chosen from."""
    alarm: bool
    """Below the best by more than chance explains."""

    @property
    def below(self) -> float:
        """Best minus now, >= 0: what `forgetting/<domain>` logs."""
        return self.best - self.accuracy


class ForgettingWatch:
    """Keeps the best evaluation of every domain and tells which domains are clearly below theirs.

    The problems of an evaluation are compared one by one with how they were solved at the best (`sign_flip_test`). The
    best of several evaluations is partly luck, so a domain that stands still falls below its best as a rule: the
    p-value is therefore multiplied by the number of evaluations that the best was chosen from, and by the number of
    domains. An alarm is p <= `level` after that.

    Args:
        level: chance of a false alarm in an evaluation.

    Example:
        >>> watch = ForgettingWatch()
        >>> solved, failed = {str(n): 1.0 for n in range(20)}, {str(n): 0.0 for n in range(20)}
        >>> watch.observe(0, {"math": solved})["math"].alarm
        False
        >>> watch.observe(10, {"math": failed})["math"].alarm
        True
    """

    def __init__(self, level: float = LEVEL) -> None:
        self._level = level
        self._best: dict[str, tuple[int, dict[str, float]]] = {}
        self._seen: dict[str, int] = {}

    def observe(self, step: int, domains: Mapping[str, Rates]) -> dict[str, Standing]:
        """Take in one evaluation.

        Args:
            step: optimizer steps done.
            domains: by name. A domain without a judged problem is passed over; problems that the best evaluation did
                not judge are left out of the test.

        Returns:
            How each domain stands.
        """
        judged = {name: dict(rates) for name, rates in domains.items() if rates}
        return {name: self._compare(step, name, rates, len(judged)) for name, rates in judged.items()}

    def _compare(self, step: int, name: str, rates: dict[str, float], domains: int) -> Standing:
        now = _mean(rates)
        if name not in self._best:
            self._best[name], self._seen[name] = (step, rates), 1
            return Standing(accuracy=now, best=now, best_step=step, p_value=1.0, alarm=False)
        best_step, best = self._best[name]
        earlier, self._seen[name] = self._seen[name], self._seen[name] + 1
        highest = _mean(best)
        if now > highest:
            self._best[name] = (step, rates)
            return Standing(accuracy=now, best=now, best_step=step, p_value=1.0, alarm=False)
        differences = [rate - best[key] for key, rate in rates.items() if key in best]
        p_value = min(1.0, sign_flip_test(differences) * domains * earlier)
        alarm = sum(differences) < 0 and p_value <= self._level
        return Standing(accuracy=now, best=highest, best_step=best_step, p_value=p_value, alarm=alarm)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as plain JSON."""
        best = {name: {"step": step, "rates": rates} for name, (step, rates) in self._best.items()}
        return {"best": best, "seen": dict(self._seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`'s values.

        Raises:
            RunError: they are not a state of this class.
        """
        try:
            self._best = {name: (int(one["step"]), dict(one["rates"])) for name, one in state["best"].items()}
            self._seen = {name: int(count) for name, count in state["seen"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"The state of the forgetting alarm is damaged ({error!r}).") from error


def _mean(rates: Rates) -> float:
    return sum(rates.values()) / len(rates)
