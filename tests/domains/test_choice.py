"""Multiple choice: the letter or the option's text, and only one."""

from __future__ import annotations

import pytest

from mcpo_rl.domains.choice import ChoiceDomain
from mcpo_rl.errors import ProblemError

CHOICE = ChoiceDomain()
REFERENCE = {"answer": "B", "choices": {"A": "Lyon", "B": "Paris", "C": "Nice"}}


@pytest.mark.parametrize(
    "completion",
    [
        "<answer>B</answer>",
        "<answer>b</answer>",
        "The answer is (B).",
        "B.",
        "B. Paris",
        "(B) Paris",
        "Answer: B) Paris",
        "Paris",
        "\\boxed{B}",
        "\\boxed{\\text{B}}",
        "**B**",
        "The correct answer is **(B) Paris**.",
        "<answer>option B</answer>",
        "The answer is B because it is the capital.",
        "A was my first thought, but:\n#### B",
    ],
)
def test_right(completion: str) -> None:
    verdict = CHOICE.verify(completion, REFERENCE)
    assert (verdict.status, verdict.reward) == ("correct", 1.0), verdict.detail


@pytest.mark.parametrize(
    "completion",
    [
        "<answer>A</answer>",
        "A or B",
        "<answer>A, B</answer>",
        "<answer>A and B</answer>",
        "<answer>B. Lyon</answer>",
        "<answer>D</answer>",
        "<answer>Lyon or Paris</answer>",
        "<answer>B because Lyon is larger</answer>",
        "A. Lyon B. Paris C. Nice",
        "<think>B",
        "",
    ],
)
def test_wrong(completion: str) -> None:
    verdict = CHOICE.verify(completion, REFERENCE)
    assert (verdict.status, verdict.reward) == ("incorrect", 0.0)


def test_an_option_that_looks_like_a_label() -> None:
    reference = {"answer": "A", "choices": {"A": "B vitamins", "B": "A vitamin"}}
    assert CHOICE.verify("<answer>B vitamins</answer>", reference).reward == 1.0
    assert CHOICE.verify("<answer>A vitamin</answer>", reference).reward == 0.0


@pytest.mark.parametrize(
    "reference",
    [
        None,
        "B",
        {"answer": "B"},
        {"answer": "D", "choices": {"A": "x", "B": "y"}},
        {"answer": "A", "choices": {"A": "x"}},
        {"answer": "A", "choices": {"A": "x", "B": 2}},
    ],
)
def test_references_of_the_wrong_form(reference: object) -> None:
    with pytest.raises(ProblemError, match="choice: "):
        CHOICE.check_reference(reference)
