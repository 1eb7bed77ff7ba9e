"""Which answers count as the same in a majority vote."""

from __future__ import annotations

from typing import Any

import pytest

from mcpo_rl.domains import DOMAINS
from mcpo_rl.evaluation.voting import votes
from mcpo_rl.types import Problem, Status, Verdict

CHOICE = {"answer": "B", "choices": {"A": "a cat", "B": "a dog", "C": "a horse"}}
ROLES = {"kind": "kk", "roles": {"Ava": "knight", "Ben": "knave"}}
GRID = {"kind": "grid", "header": ["Name", "Pet"], "rows": [["Ava", "cat"], ["Ben", "dog"]]}
ORDER = {"kind": "order", "items": ["Ann", "Bob", "Cy"]}
WORD = {"kind": "word", "answer": "river"}
YES = {"kind": "yes_no", "answer": "yes"}


def problem(domain: str, reference: Any) -> Problem:
    return Problem(domain=domain, prompt=[{"role": "user", "content": "?"}], reference=reference)


def judged(domain: str, reference: Any, *completions: str) -> list[Verdict]:
    return [DOMAINS[domain].verify(completion, reference) for completion in completions]


@pytest.mark.parametrize(
    ("domain", "reference", "first", "second", "same"),
    [
        ("math", "1", "1/2", "0.5", True),
        ("math", "1", r"\frac{2}{4}", "0.5", True),
        ("math", "1", "0.5", "0.51", False),
        ("math", "1", "x^2-1", "(x-1)(x+1)", True),
        ("math", "1", "{", "{", True),
        ("math", "1", "x" * 3000, "2", False),
        ("choice", CHOICE, "C", "(C) a horse", True),
        ("choice", CHOICE, "A", "C", False),
        ("choice", CHOICE, "none of them", "C", False),
        ("choice", CHOICE, "I do  not know", "I do not know", True),
        ("logic", ROLES, "Ava is a knave, Ben is a knight", '{"Ben": "knight", "Ava": "knave"}', True),
        ("logic", ROLES, "Ava is a knave, Ben is a knave", "Ava is a knave, Ben is a knight", False),
        ("logic", GRID, "| Name | Pet |\n|--|--|\n| Ben | cat |\n| Ava | dog |", "Name,Pet\nAva,dog\nBen,cat", True),
        ("logic", ORDER, "Cy, Bob, Ann", "1. Cy\n2. Bob\n3. Ann", True),
        ("logic", ORDER, "Cy, Bob, Ann", "Cy, Ann, Bob", False),
        ("logic", WORD, "The Lake.", "the lake", True),
        ("logic", YES, "no", "No.", True),
        ("logic", YES, "no", "perhaps", False),
    ],
)
def test_each_domain_has_its_own_equality(domain: str, reference: Any, first: str, second: str, same: bool) -> None:
    assert DOMAINS[domain].same_answer(first, second, reference) is same  # type: ignore[attr-defined]
    assert DOMAINS[domain].same_answer(second, first, reference) is same  # type: ignore[attr-defined]


def test_votes_of_a_problem() -> None:
    completions = [r"\boxed{0.5}", r"\boxed{1/2}", r"\boxed{3}", r"\boxed{3.0}", r"\boxed{6/2}", r"\boxed{4}", ""]
    verdicts = judged("math", r"\frac12", *completions)
    assert [v.status for v in verdicts[:3]] == [Status.CORRECT, Status.CORRECT, Status.INCORRECT]
    failed = Verdict(status=Status.ERROR, reward=None, answer="3")
    assert votes(problem("math", r"\frac12"), [*verdicts, failed]) == ((2,), (3, 1))


def test_nothing_right_and_nothing_said() -> None:
    assert votes(problem("math", "1"), judged("math", "1", "", "")) == ((), ())


def test_programs_are_not_voted_on() -> None:
    verdict = Verdict(status=Status.CORRECT, reward=1.0, answer="def f(): pass")
    assert votes(problem("code", {"asserts": ["assert True"]}), [verdict]) is None


def test_a_domain_without_an_equality_compares_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        name, answer_format = "plain", ""

        def check_reference(self, reference: Any) -> None: ...

        def verify(self, completion: str, reference: Any) -> Verdict:
            right = completion.strip().lower() == reference
            return Verdict(status=Status.CORRECT if right else Status.INCORRECT, reward=float(right), answer=completion)

    monkeypatch.setitem(DOMAINS, "plain", Plain())
    verdicts = judged("plain", "tea", "tea", "Tea", " tea", "milk", "milk\n", "a  cup", "a cup", "water")
    # Right answers are counted as they are written too: their verifier's word is not used on one side only.
    assert votes(problem("plain", "tea"), verdicts) == ((2, 1), (2, 2, 1))
