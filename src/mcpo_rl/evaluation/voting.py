"""Which completions of a problem give the same answer: what a majority vote counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mcpo_rl.domains import get_domain
from mcpo_rl.domains.base import ComparesAnswers
from mcpo_rl.types import Problem, Status, Verdict

NOT_VOTED = ("code",)
"""Domains whose answers are not voted on: two right programs seldom have the same text, and to sort programs by what
they do one would have to run the tests that a vote is meant to do without."""

Votes = tuple[tuple[int, ...], tuple[int, ...]]
"""How many completions gave each right answer, and each wrong one; the most frequent first."""


def votes(problem: Problem, verdicts: Sequence[Verdict]) -> Votes | None:
    """Return how the judged completions of a problem vote, or None where its answers are not compared.

    Right answers are one answer: each is the same as the reference by the verifier's word. Wrong ones are compared by
    the domain's own `same_answer`. A domain without one has all its answers, right ones too, compared as text without
    regard to spaces. A completion without an answer votes for nothing.

    Args:
        problem: The problem.
        verdicts: Of its completions; errors are left out.
    """
    if problem.domain in NOT_VOTED:
        return None
    domain = get_domain(problem.domain)
    right = Counter(v.answer.strip() for v in verdicts if v.status is Status.CORRECT)
    wrong = Counter(v.answer.strip() for v in verdicts if v.status is Status.INCORRECT and v.answer.strip())
    if not isinstance(domain, ComparesAnswers):
        return _sizes(_as_text(right)), _sizes(_as_text(wrong))
    return ((right.total(),) if right else ()), _sizes(_merged(domain, wrong, problem))


def _merged(domain: ComparesAnswers, answers: Counter[str], problem: Problem) -> Counter[str]:
    """Join answers that are the same; each is compared with one of every kind, frequent ones first."""
    kinds: Counter[str] = Counter()
    for answer, count in sorted(answers.items(), key=lambda item: (-item[1], item[0])):
        same = next((kind for kind in kinds if domain.same_answer(kind, answer, problem.reference)), answer)
        kinds[same] += count
    return kinds


def _as_text(answers: Counter[str]) -> Counter[str]:
    texts: Counter[str] = Counter()
    for answer, count in answers.items():
        texts[" ".join(answer.split())] += count
    return texts


def _sizes(answers: Counter[str]) -> tuple[int, ...]:
    return tuple(sorted(answers.values(), reverse=True))
