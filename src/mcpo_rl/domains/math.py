"""Mathematics: a number, an expression, a set, an interval, an equation, in LaTeX or plain text."""

from __future__ import annotations

import re
from typing import Any

from mcpo_rl.domains.base import correct, failed, incorrect
from mcpo_rl.domains.extraction import after_reasoning, explicit_answer, final_answer, is_hedge
from mcpo_rl.domains.math_worker import Comparison, MathWorkers
from mcpo_rl.domains.plain_numbers import read_number, same_number
from mcpo_rl.errors import ProblemError, SandboxError
from mcpo_rl.types import Verdict

_MAX_EXPRESSION = 1000
_MAX_NESTING = 50
_SYMBOLS = str.maketrans(
    {
        "−": "-",
        "×": "\\times ",
        "·": "\\cdot ",
        "π": "\\pi ",
        "∞": "\\infty ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "∪": "\\cup ",
    }
)


class MathDomain:
    r"""Verifies mathematics. Reference: a string, such as `"12"`, `"\frac{3}{4}"`, `"[1,2)"`, `"x=3"`.

    Numbers are compared exactly and here; everything else by math-verify, in a process that can be killed.
    """

    name = "math"
    answer_format = "End with the final answer on a line of its own: #### answer"

    def __init__(self, workers: MathWorkers | None = None) -> None:
        self._workers = workers or MathWorkers()

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` is a string with something in it."""
        if not isinstance(reference, str) or not reference.strip():
            raise ProblemError(f'math: the reference must be a non-empty string such as "3/4", not {reference!r:.80}')
        if len(reference) > _MAX_EXPRESSION:
            raise ProblemError(
                f"math: the reference has {len(reference)} characters; at most {_MAX_EXPRESSION} are read"
            )

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the reference."""
        answer = final_answer(completion)
        if answer is None:
            return incorrect("", "no answer")
        text = after_reasoning(completion)
        stated = text is not None and explicit_answer(text) is not None
        gold = reference.strip().strip("$").strip()
        if is_hedge(answer) and not is_hedge(gold) and "," not in gold:
            return incorrect(answer, "it offers several values")
        gold_number = read_number(gold)
        for candidate in [answer] if stated else [answer, _last_formula(answer)]:
            if _same_text(gold, candidate):
                return correct(answer)
            number = read_number(candidate)
            if gold_number is not None and number is not None:
                return correct(answer) if same_number(gold_number, number) else incorrect(answer, f"not {gold}")
        return self._compare(gold, answer if stated else _last_formula(answer))

    def _compare(self, gold: str, answer: str) -> Verdict:
        refusal = _refusal(answer)
        if refusal:
            return incorrect(answer, refusal)
        unusable = _refusal(gold)
        if unusable:
            return failed(answer, f"the reference {gold!r:.80} cannot be used: {unusable}")
        try:
            result, detail = self._workers.compare(_for_math_verify(gold), _for_math_verify(answer))
        except SandboxError as error:
            return failed(answer, str(error))
        if result is Comparison.CORRECT:
            return correct(answer)
        if result is Comparison.BAD_GOLD:
            return failed(answer, f"the reference {gold!r:.80} cannot be used: {detail}")
        if result is Comparison.TOO_HARD:
            return incorrect(answer, f"evaluating it {result.value}: {detail}")
        return incorrect(answer, f"not {gold}")


def _last_formula(line: str) -> str:
    """Return the last formula in a line of prose: in dollars, after an equals sign, or its only number."""
    formulas = re.findall(r"\$([^$]+)\$", line)
    if formulas:
        return str(formulas[-1]).strip()
    _, equals, right = line.rpartition("=")
    if equals and right.strip():
        return right.strip().rstrip(".")
    numbers = re.findall(r"(?<![\w.])-?\d[\d,]*(?:\.\d+|/\d+)?(?![\w/])", line)
    return numbers[0] if len(numbers) == 1 and re.search(r"[A-Za-z]{3}", line) else line


def _refusal(answer: str) -> str:
    """Return why an answer is not worth parsing, or ''."""
    if len(answer) > _MAX_EXPRESSION:
        return f"longer than {_MAX_EXPRESSION} characters"
    if "\\boxed" in answer or "\\fbox" in answer:
        return "it holds several final answers"
    braces = parentheses = 0
    for character in re.sub(r"\\[{}]", "", answer):
        braces += (character == "{") - (character == "}")
        parentheses += (character in "([") - (character in ")]")
        if braces < 0:
            return "its braces do not match"
        if braces + abs(parentheses) > _MAX_NESTING:
            return f"nested more than {_MAX_NESTING} deep"
    return "its braces do not match" if braces else ""


def _for_math_verify(text: str) -> str:
    return text.replace("**", "^").translate(_SYMBOLS)


def _same_text(first: str, second: str) -> bool:
    return _normal(first) == _normal(second)


def _normal(text: str) -> str:
    text = re.sub(r"\\(?:text|mathrm|mbox|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[!,;: ]|\\left|\\right|[$]", "", text)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text).casefold()  # but `1 2` is not `12`
