"""Logic: every kind in every form, right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from mcpo_rl.domains.logic import LogicDomain
from mcpo_rl.errors import ProblemError

LOGIC = LogicDomain()
KK = {"kind": "kk", "roles": {"Ava": "knight", "Ben": "knave"}}
BOTH = {"kind": "kk", "roles": {"Ava": "knight", "Ben": "knight"}}
GRID = {"kind": "grid", "header": ["Name", "Pet"], "rows": [["Ava", "cat"], ["Ben", "dog"]]}
WIDE = {"kind": "grid", "header": ["Name", "Pet", "Colour"], "rows": [["Ava", "cat", "red"], ["Ben", "dog", "blue"]]}
ORDER = {"kind": "order", "items": ["Ann", "Bob", "Cat"]}
WORD = {"kind": "word", "answer": "True"}
YES = {"kind": "yes_no", "answer": "yes"}

RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("<answer>Ava: knight, Ben: knave</answer>", KK),
    ("<answer>ava is a KNIGHT; ben is a knave.</answer>", KK),
    ("If Ava lies, then ...\n\nAva is a knight and Ben is a knave.", KK),
    ("I think so.\n\n**Ava**: knight\n**Ben**: knave", KK),
    ("1. Ava is a knight\n2. Ben is a knave", KK),
    ("Knights: Ava\nKnaves: Ben", KK),
    ("So the final answer is: Therefore Ava is a knight and Ben is a knave.", KK),
    ("Ava is not a knave. Ben is not a knight.", KK),
    ('<answer>{"Ava": "knight", "Ben": "knave"}</answer>', KK),
    ('The answer is:\n```json\n{"Ava": "knight", "Ben": "knave"}\n```', KK),
    ("| Name | Role |\n|---|---|\n| Ava | knight |\n| Ben | knave |", KK),
    ("<answer>Ava is a truth-teller, Ben is a liar</answer>", KK),
    ("<answer>Ava and Ben are knights</answer>", BOTH),
    ("<answer>Ava: cat, Ben: dog</answer>", GRID),
    ("<answer>Ben: dog, Ava: cat</answer>", GRID),
    ("Ava has the cat\nBen has the dog", GRID),
    ("| Pet | Name |\n|--|--|\n| cat | Ava |\n| dog | Ben |", GRID),
    ('{"Ava": "cat", "Ben": "dog"}', GRID),
    ('[{"Name": "Ava", "Pet": "cat"}, {"Pet": "dog", "Name": "Ben"}]', GRID),
    ("Ava: cat, red\nBen: dog, blue", WIDE),
    ("<answer>Ava: cat, red; Ben: dog, blue</answer>", WIDE),
    ("| Name | Pet | Colour |\n|--|--|--|\n| Ava | cat | red |\n| Ben | dog | blue |", WIDE),
    ('{"header": ["Name", "Colour", "Pet"], "rows": [["Ava", "red", "cat"], ["Ben", "blue", "dog"]]}', WIDE),
    ('{"Ava": {"Pet": "cat", "Colour": "red"}, "Ben": {"Pet": "dog", "Colour": "blue"}}', WIDE),
    ("<answer>Ann, Bob, Cat</answer>", ORDER),
    ("<answer>ann, bob, and cat</answer>", ORDER),
    ("1. Ann\n2. Bob\n3. Cat", ORDER),
    ("Ann > Bob > Cat", ORDER),
    ('["Ann", "Bob", "Cat"]', ORDER),
    ("<answer>true</answer>", WORD),
    ("The answer is **True**.", WORD),
    ("<answer>Yes</answer>", YES),
    ("<answer>yes, because the last one lies</answer>", YES),
]

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("<answer>Ava: knave, Ben: knight</answer>", KK),
    ("<answer>Ava: knight</answer>", KK),
    ("<answer>Ava: knight, Ben: knave, Cat: knight</answer>", KK),
    ("<answer>Ava: knight, Ava: knave, Ben: knave</answer>", KK),
    ("<answer>Ava: knight or knave, Ben: knave</answer>", KK),
    ("<answer>Ava: knight knave, Ben: knave</answer>", KK),
    ("<answer>knight, knave</answer>", KK),
    ("Knights: Ava, Cat\nKnaves: Ben", KK),
    ("<answer>If Ava is a knight, Ben is a knave</answer>", KK),
    ("<answer>Ava is a knight or Ben is a knave</answer>", KK),
    ("<answer>Maybe Ava is a knight, Ben is a knave</answer>", KK),
    ("<answer>Ava, Ben</answer>", KK),
    ('<answer>{"Ava": "knight", "Ava": "knave", "Ben": "knave"}</answer>', KK),
    ("Ava says that Ben is a knave. Ben says that Ava is a knight.", KK),
    ("Each of Ava and Ben is either a knight or a knave.", KK),
    ("<answer>Ava: knight, Ben: knave", KK),
    ("<think>Ava: knight, Ben: knave", KK),
    ("<answer>Ava: dog, Ben: cat</answer>", GRID),
    ("<answer>Ava: cat</answer>", GRID),
    ("<answer>Ava: cat, Ben: dog, Cy: fox</answer>", GRID),
    ("<answer>Ava: cat, Ava: cat, Ben: dog</answer>", GRID),
    ("<answer>Ava: cat or dog, Ben: dog</answer>", GRID),
    ("<answer>Ava, Ben, cat, dog</answer>", GRID),
    ("Ava: cat, blue\nBen: dog, red", WIDE),
    ("| Name | Colour | Pet |\n|--|--|--|\n| Ava | cat | red |\n| Ben | dog | blue |", WIDE),
    ("<answer>Ann, Cat, Bob</answer>", ORDER),
    ("<answer>Ann, Bob</answer>", ORDER),
    ("<answer>Ann, Bob, Cat, Dan</answer>", ORDER),
    ("<answer>Ann < Bob < Cat</answer>", ORDER),
    ("<answer>Ann, Ann, Bob, Cat</answer>", ORDER),
    ("<answer>False</answer>", WORD),
    ("<answer>True or False</answer>", WORD),
    ("<answer>True False</answer>", WORD),
    ("", WORD),
    ("<answer>no</answer>", YES),
    ("<answer>yes or no</answer>", YES),
    ("<answer>perhaps</answer>", YES),
]


@pytest.mark.parametrize(("completion", "reference"), RIGHT)
def test_right(completion: str, reference: dict[str, Any]) -> None:
    LOGIC.check_reference(reference)
    verdict = LOGIC.verify(completion, reference)
    assert (verdict.status, verdict.reward) == ("correct", 1.0), verdict.detail


@pytest.mark.parametrize(("completion", "reference"), WRONG)
def test_wrong(completion: str, reference: dict[str, Any]) -> None:
    verdict = LOGIC.verify(completion, reference)
    assert (verdict.status, verdict.reward) == ("incorrect", 0.0), verdict.answer
    assert verdict.detail


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (None, "needs a `kind`"),
        ({"kind": "sudoku"}, "needs a `kind`"),
        ({"kind": "kk", "roles": {}}, "`roles`"),
        ({"kind": "kk", "roles": {"Ava": 1}}, "`roles`"),
        ({"kind": "grid", "header": ["Name"], "rows": [["Ava"]]}, "`header`"),
        ({"kind": "grid", "header": ["Name", "Pet"], "rows": [["Ava"]]}, "`rows`"),
        ({"kind": "grid", "rows": [["Ava", "cat"]]}, "`header`"),
        ({"kind": "order", "items": "Ann, Bob"}, "`items`"),
        ({"kind": "word", "answer": True}, "`answer`"),
        ({"kind": "yes_no", "answer": "maybe"}, "`answer`"),
    ],
)
def test_references_of_the_wrong_form(reference: object, says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        LOGIC.check_reference(reference)
