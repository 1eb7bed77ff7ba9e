"""Mathematics: a number, an expression, a set, an interval, an equation, a word, in LaTeX or plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mcpo_rl.domains.base import correct, failed, incorrect
from mcpo_rl.domains.extraction import explicit_answer, find_answer, is_hedge, unwrapped
from mcpo_rl.domains.math.arithmetic import left_to_compute
from mcpo_rl.domains.math.forms import is_single, same_answer
from mcpo_rl.domains.math.parameters import with_index_of
from mcpo_rl.domains.math.phrases import differ_as_times, formulas, same_phrase
from mcpo_rl.domains.math.plain_numbers import Number, read_number, same_number
from mcpo_rl.domains.math.reader import Reading, read_answer
from mcpo_rl.domains.math.screen import MAX_EXPRESSION, refusal, too_heavy
from mcpo_rl.domains.math.text import clean
from mcpo_rl.domains.math.tree import Unknown, Unreadable
from mcpo_rl.domains.math.values import allow_work
from mcpo_rl.domains.math.worker import Comparison, MathWorkers
from mcpo_rl.errors import ProblemError, SandboxError
from mcpo_rl.types import Status, Verdict

_GOLDS_KEPT = 4096
_PLAIN_ANSWER = "7919"
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\(?!text)[A-Za-z]+")
_PROSE = re.compile(r"[A-Za-z]{4}|\\text")


class MathDomain:
    r"""Verifies mathematics. Reference: a string, such as `"12"`, `"\frac{3}{4}"`, `"[1,2)"`, `"x=3"`.

    Numbers, expressions, lists, intervals, equations and matrices are compared here, within a budget of work; what is
    not read here (sums, integrals, limits) by math-verify, in a process that can be killed.
    """

    name = "math"
    answer_format = "End with the final answer on a line of its own: #### answer"

    def __init__(self, workers: MathWorkers | None = None) -> None:
        self._workers = workers or MathWorkers()
        self._sound_golds: dict[str, str] = {}
        self._warm = False

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` is a string that can be one answer."""
        if not isinstance(reference, str) or not reference.strip():
            raise ProblemError(f'math: the reference must be a non-empty string such as "3/4", not {reference!r:.80}')
        if len(reference) > MAX_EXPRESSION:
            raise ProblemError(
                f"math: the reference has {len(reference)} characters; at most {MAX_EXPRESSION} are read"
            )
        _, unusable = _gold_text(reference)
        if unusable:
            raise ProblemError(f"math: the reference {reference!r:.80} cannot be used: {unusable}")

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the reference."""
        found = find_answer(completion)
        if found is None:
            return incorrect("", "no answer")
        answer, stated = found
        gold = _gold(reference)
        if gold.unusable:
            if gold.text and len(answer) <= MAX_EXPRESSION and clean(answer) == gold.text:
                return correct(answer)
            return failed(answer, f"the reference {reference!r:.80} cannot be used: {gold.unusable}")
        if gold.number is None and not self._warm:
            self._warm = True  # some answer will need computer algebra; loading it takes a second, elsewhere
            self._workers.warm()
        verdict = self._judge(gold, answer, answer)
        if stated or verdict.reward == 1.0 or (gold.single and is_hedge(answer)) or _reading(clean(answer), None)[0]:
            return verdict
        for candidate in formulas(answer):
            other = self._judge(gold, candidate, answer)
            if other.reward == 1.0:
                return other
        return verdict

    def same_answer(self, first: str, second: str, reference: Any) -> bool:
        """Tell whether two answers have the same value: the one would be right if the other were the reference."""
        if len(first) > MAX_EXPRESSION or len(second) > MAX_EXPRESSION or not first.strip():
            return first == second
        gold = _gold(first)
        if gold.unusable:
            return clean(first) == clean(second)
        return self._judge(gold, second, second).status is Status.CORRECT

    def _judge(self, gold: _Gold, candidate: str, answer: str) -> Verdict:
        """Judge one reading of an answer; `answer` is what the verdict reports."""
        reason = refusal(candidate)
        if reason:
            same = len(candidate) <= MAX_EXPRESSION and clean(candidate) == gold.text
            return correct(answer) if same else incorrect(answer, reason)
        text = clean(candidate)
        number = read_number(text)
        if number is not None and gold.number is not None:
            return correct(answer) if same_number(gold.number, number) else incorrect(answer, f"not {gold.text}")
        if same_phrase(gold.text, text):
            return correct(answer)
        if gold.number is not None and left_to_compute(text):
            return incorrect(answer, "the arithmetic is left to be done")
        if differ_as_times(gold.text, text):
            return incorrect(answer, f"not {gold.text}")
        if gold.single and is_hedge(text):
            return incorrect(answer, "it offers several values")
        reading, for_algebra = _reading(text, number)
        if reading is not None and gold.reading is not None:
            allow_work()
            result = same_answer(gold.reading, reading)
            if result is not None:
                return correct(answer) if result else incorrect(answer, f"not {gold.text}")
        if gold.for_algebra and for_algebra:
            return self._compare(gold, text, answer)
        return incorrect(answer, f"not {gold.text}")

    def _compare(self, gold: _Gold, text: str, answer: str) -> Verdict:
        """Leave the comparison to computer algebra."""
        text = with_index_of(gold.text, text)
        if same_phrase(gold.text, text):
            return correct(answer)
        reason = too_heavy(text) or (too_heavy(gold.text) and "only the same form as the reference's counts")
        if reason:
            return incorrect(answer, reason)
        try:
            result, detail = self._workers.compare(gold.text, text)
            if result is Comparison.TOO_HARD:
                fault = self._fault_of(gold)
                if fault:
                    return failed(answer, f"the reference {gold.text!r:.80} cannot be used: {fault}")
        except SandboxError as error:
            return failed(answer, str(error))
        if result is Comparison.CORRECT:
            return correct(answer)
        if result is Comparison.BAD_GOLD:
            return failed(answer, f"the reference {gold.text!r:.80} cannot be used: {detail}")
        if result is Comparison.TOO_HARD:
            return incorrect(answer, f"evaluating it {result.value}: {detail}")
        return incorrect(answer, f"not {gold.text}")

    def _fault_of(self, gold: _Gold) -> str:
        """Return what is wrong with a reference that cannot even be compared with a plain number, or ''."""
        if gold.text not in self._sound_golds:
            result, detail = self._workers.compare(gold.text, _PLAIN_ANSWER)
            hard = result in (Comparison.TOO_HARD, Comparison.BAD_GOLD)
            if len(self._sound_golds) >= _GOLDS_KEPT:
                self._sound_golds.clear()
            self._sound_golds[gold.text] = f"comparing it {Comparison.TOO_HARD.value}: {detail}" if hard else ""
        return self._sound_golds[gold.text]


@dataclass(frozen=True, slots=True)
class _Gold:
    """A reference, read once."""

    text: str
    number: Number | None
    reading: Reading | None
    for_algebra: bool
    """Computer algebra may know more of it than `reading` says."""
    single: bool
    """One value is asked for: an answer with several is a hedge."""
    unusable: str


def _gold_text(reference: str) -> tuple[str, str]:
    """Return a reference as it is compared, and why it cannot be used ('' where it can)."""
    stated = explicit_answer(reference)
    text = clean(unwrapped(reference if stated is None else stated))
    return text, refusal(text) or ("" if text else "there is nothing in it")


@lru_cache(maxsize=_GOLDS_KEPT)
def _gold(reference: str) -> _Gold:
    text, unusable = _gold_text(reference)
    number = None if unusable else read_number(text)
    reading, for_algebra = (None, False) if unusable else _reading(text, number)
    single = number is not None or (not is_hedge(text) if reading is None else is_single(reading))
    return _Gold(text, number, reading, for_algebra, single, unusable)


def _reading(text: str, number: Number | None) -> tuple[Reading | None, bool]:
    """Read a cleaned text, and say whether computer algebra may know more of it."""
    try:
        return read_answer(text, number), True
    except Unknown:
        return None, not _is_prose(text)
    except Unreadable:
        return None, False


def _is_prose(text: str) -> bool:
    """Whether a cleaned text holds words, which computer algebra would take for products of variables."""
    return _PROSE.search(_COMMAND.sub(" ", text)) is not None
