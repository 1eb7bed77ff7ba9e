"""Stand-ins for the verification service and for a generator: what they say is what a test wants."""

from collections.abc import Callable, Sequence
from typing import Any

from mcpo_rl.types import Status, Verdict

Items = Sequence[tuple[str, str, Any]]
Verify = Callable[[Items], list[Verdict]]


def contains_reference(items: Items) -> list[Verdict]:
    """A stand-in for the verifiers: right when the reference's digit occurs in the completion."""
    right = [str(reference) in completion for _, completion, reference in items]
    return [Verdict(status=Status.CORRECT if x else Status.INCORRECT, reward=float(x), answer="a") for x in right]


class StandInBatch:
    """As `mcpo_rl.rewards.PendingBatch`; judged when `result` is called, or before, where `is_done` says so."""

    def __init__(self, items: Items, verify: Verify, is_done: Callable[[], bool]) -> None:
        self.items, self._verify, self._is_done, self.cancelled = items, verify, is_done, False

    def done(self) -> bool:
        return self._is_done()

    def result(self) -> list[Verdict]:
        return self._verify(self.items)

    def cancel(self) -> None:
        self.cancelled = True


class StandInService:
    """As `mcpo_rl.rewards.VerificationService`, with any function in the place of the verifiers."""

    def __init__(self, verify: Verify = contains_reference, is_done: Callable[[], bool] = lambda: True) -> None:
        self.verify, self.is_done = verify, is_done
        self.batches: list[StandInBatch] = []

    def submit(self, items: Items, *, workers: int | None = None, max_error_rate: float = 0.5) -> StandInBatch:
        assert max_error_rate == 1.0, "one bad batch must not end an evaluation"
        self.batches.append(StandInBatch(items, self.verify, self.is_done))
        return self.batches[-1]
