"""Logic puzzles: who has which role, grids, orders, a word, yes or no."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mcpo_rl.domains.base import correct, incorrect
from mcpo_rl.domains.logic import grid, order, roles, word, yes_no
from mcpo_rl.domains.logic.passage import Refused, passages
from mcpo_rl.domains.written_json import short_answer
from mcpo_rl.errors import ProblemError
from mcpo_rl.types import Verdict

__all__ = ["LogicDomain"]

_KINDS: dict[str, ModuleType] = {"kk": roles, "grid": grid, "order": order, "word": word, "yes_no": yes_no}
"""Each with `check(reference)`, `read(passage, reference)` and `compare(got, reference)`."""
_LONG = ("kk", "grid", "order")


class LogicDomain:
    """Verifies logic puzzles. References by `kind`:

    - `{"kind": "kk", "roles": {"Ava": "knight", "Ben": "knave"}}`: every person with their one role, nobody else;
    - `{"kind": "grid", "header": ["Name", "Pet"], "rows": [["Ava", "cat"], ...]}`: every row once, in any order;
    - `{"kind": "order", "items": ["Ann", "Bob"]}`: all items in this order;
    - `{"kind": "word", "answer": "True"}`;
    - `{"kind": "yes_no", "answer": "yes"}`.

    Upper and lower case and spacing are the same everywhere. Answers may be sentences, lists, JSON or Markdown tables;
    `docs/verifiers.md` lists the forms.
    """  # noqa: D415

    name = "logic"
    answer_format = "Give the final answer, and nothing else, inside <answer> and </answer>."

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` has the form of its kind and can be told from every other answer."""
        kind = reference.get("kind") if isinstance(reference, dict) else None
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ProblemError(f"logic: the reference needs a `kind` out of {sorted(_KINDS)}; it is {reference!r:.80}")
        problem = _KINDS[kind].check(reference)
        if problem:
            raise ProblemError(f"logic: a reference of kind `{kind}` needs {problem}; it is {reference!r:.200}")

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the reference."""
        kind = _KINDS[reference["kind"]]
        if reference["kind"] in _LONG:
            places = passages(completion)
        else:
            answer = short_answer(completion)
            places = iter([answer] if answer else [])
        first: Verdict | None = None
        for passage in places:
            try:
                wrong = kind.compare(kind.read(passage, reference), reference)
            except Refused as refused:
                first = first or incorrect(passage, str(refused))
                continue
            return incorrect(passage, wrong) if wrong else correct(passage)
        return first or incorrect("", "no answer")

    def same_answer(self, first: str, second: str, reference: Any) -> bool:
        """Tell whether two answers say the same of the puzzle; two that cannot be read are the same as text only."""
        kind = _KINDS[reference["kind"]]
        try:
            said, other = kind.read(first, reference), kind.read(second, reference)
        except Refused:
            return " ".join(first.split()) == " ".join(second.split())
        return bool(said == other)
