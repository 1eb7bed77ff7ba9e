"""Logic puzzles: knights and knaves, grids, orders, a word, yes or no."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mcpo_rl.domains import logic_forms as forms
from mcpo_rl.domains.base import correct, incorrect
from mcpo_rl.domains.extraction import after_reasoning, explicit_answer, final_answer
from mcpo_rl.errors import ProblemError
from mcpo_rl.types import Verdict


class LogicDomain:
    """Verifies logic puzzles. References by `kind`:

    - `{"kind": "kk", "roles": {"Ava": "knight", "Ben": "knave"}}`: every person with their one role, nobody else;
    - `{"kind": "grid", "header": ["Name", "Pet"], "rows": [["Ava", "cat"], ...]}`: every row once, in any order;
    - `{"kind": "order", "items": ["Ann", "Bob"]}`: all items in this order;
    - `{"kind": "word", "answer": "True"}`;
    - `{"kind": "yes_no", "answer": "yes"}`.

    Upper and lower case are the same everywhere. Answers may be lines of text, JSON or a Markdown table.
    """  # noqa: D415

    name = "logic"
    answer_format = "Give the final answer, and nothing else, inside <answer> and </answer>."

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` has the form of its kind."""
        kind = reference.get("kind") if isinstance(reference, dict) else None
        if kind not in _KINDS:
            raise ProblemError(f"logic: the reference needs a `kind` out of {sorted(_KINDS)}; it is {reference!r:.80}")
        problem = _KINDS[kind][0](reference)
        if problem:
            raise ProblemError(f"logic: a reference of kind `{kind}` needs {problem}; it is {reference!r:.200}")

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the reference."""
        kind = reference["kind"]
        text = after_reasoning(completion)
        if text is None:
            return incorrect("", "no answer")
        # A list of persons may take many lines; without a form around it, that is the last paragraph.
        answer = final_answer(completion)
        if kind in ("kk", "grid", "order") and explicit_answer(text) is None and "<answer>" not in text:
            answer = forms.last_block(text)
        if not answer:
            return incorrect("", "no answer")
        wrong = _KINDS[kind][1](answer, reference)
        return incorrect(answer, wrong) if wrong else correct(answer)


def _judge_roles(answer: str, reference: dict[str, Any]) -> str:
    """Return what is wrong with `answer`, or ''. All judges do."""
    wanted = {forms.plain(name): forms.plain(role) for name, role in reference["roles"].items()}
    got = forms.read_roles(answer, set(wanted), set(wanted.values()) | {"knight", "knave"})
    if isinstance(got, str):
        return got
    missing = sorted(set(wanted) - set(got))
    if missing:
        return f"no role for {', '.join(missing)}"
    wrong = sorted(name for name in wanted if got[name] != wanted[name])
    return f"wrong for {', '.join(wrong)}" if wrong else ""


def _judge_grid(answer: str, reference: dict[str, Any]) -> str:
    header = [forms.plain(cell) for cell in reference["header"]]
    wanted = sorted([forms.plain(cell) for cell in row] for row in reference["rows"])
    got = forms.read_rows(answer, header)
    if got is None:
        return "its rows cannot be read"
    if len(got) != len(wanted):
        return f"{len(got)} rows, not {len(wanted)}"
    return "" if sorted(got) == wanted else "a row is wrong"


def _judge_order(answer: str, reference: dict[str, Any]) -> str:
    wanted = [forms.plain(item) for item in reference["items"]]
    got = forms.read_items(answer)
    return "" if got == wanted else "not this order"


def _judge_word(answer: str, reference: dict[str, Any]) -> str:
    return "" if forms.plain(answer) == forms.plain(reference["answer"]) else "not this word"


def _judge_yes_no(answer: str, reference: dict[str, Any]) -> str:
    words = set(re.findall(r"[a-z]+", answer.casefold())) & {"yes", "no"}
    if len(words) != 1:
        return "neither yes nor no, or both"
    first = re.match(r"\W*(yes|no)\b", answer.casefold())
    return "" if first and first[1] == reference["answer"].casefold() else f"not {reference['answer']}"


def _needs_roles(reference: dict[str, Any]) -> str:
    roles = reference.get("roles")
    good = (
        isinstance(roles, dict)
        and roles
        and all(isinstance(part, str) and part.strip() for item in roles.items() for part in item)
    )
    return "" if good else '`roles`: {"Ava": "knight", ...}'


def _needs_rows(reference: dict[str, Any]) -> str:
    header, rows = reference.get("header", []), reference.get("rows")
    good = (
        _is_texts(header, 2)
        and isinstance(rows, list)
        and rows
        and all(_is_texts(row, 2) and len(row) == len(header) for row in rows)
    )
    return (
        "" if good else '`header` (at least two texts) and `rows` of that width: ["Name", "Pet"], [["Ava", "cat"], ...]'
    )


def _needs_items(reference: dict[str, Any]) -> str:
    return "" if _is_texts(reference.get("items"), 2) else '`items`: ["Ann", "Bob", ...] (at least two texts)'


def _needs_word(reference: dict[str, Any]) -> str:
    answer = reference.get("answer")
    return "" if isinstance(answer, str) and forms.plain(answer) else "`answer`: a text"


def _needs_yes_no(reference: dict[str, Any]) -> str:
    answer = reference.get("answer")
    return "" if isinstance(answer, str) and answer.casefold() in ("yes", "no") else '`answer`: "yes" or "no"'


def _is_texts(value: Any, least: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(isinstance(item, str) and item.strip() for item in value)
    )


_KINDS: dict[str, tuple[Callable[[dict[str, Any]], str], Callable[[str, dict[str, Any]], str]]] = {
    "kk": (_needs_roles, _judge_roles),
    "grid": (_needs_rows, _judge_grid),
    "order": (_needs_items, _judge_order),
    "word": (_needs_word, _judge_word),
    "yes_no": (_needs_yes_no, _judge_yes_no),
}
