"""Multiple choice (science, common sense): the letter, or the option's own text."""

from __future__ import annotations

import re
from typing import Any

from mcpo_rl.domains.base import correct, incorrect
from mcpo_rl.domains.extraction import final_answer, is_hedge
from mcpo_rl.errors import ProblemError
from mcpo_rl.types import Verdict

_LABEL = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s+(?:is\s+)?)?[(\[]?(\w{1,3})[)\]]?(?:\s*[.:)\-–—]\s*|\s+|$)(.*)",
    re.IGNORECASE | re.DOTALL,
)


class ChoiceDomain:
    """Verifies multiple choice. Reference: `{"answer": "B", "choices": {"A": "...", "B": "..."}}`."""

    name = "choice"
    answer_format = "Give the letter of the right option inside <answer> and </answer>."

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` names one of at least two options."""
        expected = 'expected {"answer": "B", "choices": {"A": "...", "B": "..."}}'
        if not isinstance(reference, dict) or not isinstance(reference.get("choices"), dict):
            raise ProblemError(f"choice: the reference has no `choices`; {expected}")
        choices = reference["choices"]
        if len(choices) < 2 or not all(isinstance(part, str) and part for item in choices.items() for part in item):
            raise ProblemError(f"choice: `choices` must map at least two letters to texts; {expected}")
        if reference.get("answer") not in choices:
            raise ProblemError(
                f"choice: `answer` is {reference.get('answer')!r}, none of {sorted(choices)}; {expected}"
            )

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the right option."""
        answer = final_answer(completion)
        if answer is None:
            return incorrect("", "no answer")
        chosen = _chosen(answer, reference["choices"])
        if chosen is None:
            return incorrect(answer, "it names no option, or more than one")
        if chosen == reference["answer"]:
            return correct(answer)
        return incorrect(answer, f"option {chosen}, not {reference['answer']}")


def _chosen(answer: str, choices: dict[str, str]) -> str | None:
    """Return the key of the one option that `answer` names, or None."""
    text = _plain(answer)
    by_text = [key for key, option in choices.items() if _plain(option) == text]
    if by_text:
        return by_text[0] if len(by_text) == 1 else None
    match = _LABEL.fullmatch(re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", answer).strip("$* \n"))
    if match is None:
        return None
    keys = {key.casefold(): key for key in choices}
    key = keys.get(match[1].casefold())
    rest = match[2].strip()
    if key is None or not rest:
        return key
    if _plain(rest) == _plain(choices[key]):
        return key
    names_another = any(other != key and _plain(option) in _plain(rest) for other, option in choices.items())
    explains = re.match(r"because\b|since\b|as\b|[(:]", rest, re.IGNORECASE) is not None
    return key if explains and not names_another and not is_hedge(rest) else None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s.+/%°-]", " ", text.casefold()).split()).strip(" .")
