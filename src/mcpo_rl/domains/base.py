"""What a domain is: one verifier and the answer form that its prompts ask for."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from mcpo_rl.types import Status, Verdict


class Domain(Protocol):
    """One domain. Implementations live in one file each and are listed in `mcpo_rl.domains.DOMAINS`."""

    name: str
    """The key under which rows name it in their `domain` column."""
    answer_format: str
    """The sentence that a prompt may append to ask for an answer which `verify` reads."""

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` (what is wrong, what was expected) when `verify` could not use `reference`."""
        ...

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion. Never raises for what a model wrote; the verifier's own failure is `Status.ERROR`."""
        ...


@runtime_checkable
class TimeBounded(Protocol):
    """What a domain may have besides: its own word on how long a verdict can take."""

    def longest_s(self, reference: Any) -> float:
        """Return the seconds after which no verdict on one completion will come any more.

        The verification service then ends the process that judges, and the verdict is `error`. So it has to be more
        than any completion can bring about.
        """
        ...


@runtime_checkable
class ComparesAnswers(Protocol):
    """What a domain may have besides: its own word on whether two answers are the same one. Majority votes need it."""

    def same_answer(self, first: str, second: str, reference: Any) -> bool:
        """Tell whether two answers to the problem of `reference` are the same, whether right or wrong.

        Args:
            first: An answer as `verify` read it out of a completion (`Verdict.answer`).
            second: Another.
            reference: The problem's; it tells how its answers are read.
        """
        ...


def correct(answer: str, detail: str = "") -> Verdict:
    """The verdict on a right answer: reward 1."""
    return Verdict(status=Status.CORRECT, reward=1.0, answer=answer, detail=detail)


def incorrect(answer: str, detail: str) -> Verdict:
    """The verdict on a wrong answer, or on none: reward 0."""
    return Verdict(status=Status.INCORRECT, reward=0.0, answer=answer, detail=detail)


def failed(answer: str, detail: str) -> Verdict:
    """The verdict where the verifier itself failed: no reward."""
    return Verdict(status=Status.ERROR, reward=None, answer=answer, detail=detail)
