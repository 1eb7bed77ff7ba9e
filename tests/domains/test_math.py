"""Mathematics: numbers exactly, everything else by computer algebra that can be killed."""

from __future__ import annotations

import os
import signal
import sys
from fractions import Fraction

import pytest

from mcpo_rl.domains.math import MathDomain
from mcpo_rl.domains.math_worker import Comparison, MathWorkers
from mcpo_rl.domains.plain_numbers import read_number
from mcpo_rl.errors import ProblemError
from mcpo_rl.types import Status

WORKERS = MathWorkers(size=1, limit_s=1)
MATH = MathDomain(WORKERS)


def status(completion: str, reference: str) -> str:
    MATH.check_reference(reference)
    verdict = MATH.verify(completion, reference)
    assert verdict.reward == {"correct": 1.0, "incorrect": 0.0, "error": None}[verdict.status]
    return verdict.status.value


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        ("#### 12", "12"),
        ("some work\n#### 7/12", "7/12"),
        ("#### -3", "-3"),
        ("#### 14/24", "7/12"),
        ("\\boxed{0.75}", "\\frac{3}{4}"),
        ("\\boxed{-\\frac{3}{4}}", "-3/4"),
        ("\\boxed{1,234}", "1234"),
        ("#### $1,234.50", "1234.5"),
        ("\\boxed{1 1/2}", "1.5"),
        ("\\boxed{50\\%}", "0.5"),
        ("\\boxed{50\\%}", "50"),
        ("\\boxed{12 \\text{ cm}}", "12"),
        ("#### 12 apples", "12"),
        ("x = 3", "3"),
        ("\\boxed{3}", "x=3"),
        ("\\boxed{0.333333}", "1/3"),
        ("\\boxed{6.02 \\times 10^{23}}", "602000000000000000000000"),
        ("6.02e23", "6.02 \\times 10^{23}"),
        ("\\boxed{−5}", "-5"),
        ("2 + 3 = 5", "5"),
        ("So Ann has 12 apples in the end.", "12"),
        ("Thus $x = 5$ holds.", "5"),
        ("\\boxed{East}", "east"),
        ("\\boxed{[1, 2)}", "[1,2)"),
    ],
)
def test_right_without_computer_algebra(completion: str, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WORKERS, "compare", None)
    assert status(completion, reference) == "correct"


@pytest.mark.parametrize(
    ("completion", "reference"),
    [
        ("#### 13", "12"),
        ("", "12"),
        ("<think>#### 12", "12"),
        ("#### 12\n#### 13", "12"),
        ("\\boxed{3 or 4}", "3"),
        ("\\boxed{3} or \\boxed{4}", "3"),
        ("<answer>either 3 or 4</answer>", "4"),
        ("1e-7", "2e-7"),
        ("\\boxed{1000001}", "1000000"),
        ("\\boxed{1000000.5}", "1000000"),
        ("\\boxed{0.33}", "1/3"),
        ("\\boxed{1/0}", "0"),
        ("\\boxed{12 cm}", "12 kg"),
        ("y = 3", "x = 3"),
        ("\\boxed{12", "12"),
    ],
)
def test_wrong_without_computer_algebra(completion: str, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WORKERS, "compare", lambda gold, answer: (Comparison.INCORRECT, ""))
    assert status(completion, reference) == "incorrect"


@pytest.mark.parametrize(
    ("completion", "says"),
    [
        ("\\boxed{3 or 4}", "offers several values"),
        ("\\boxed{3} or \\boxed{4}", "offers several values"),
        ("<answer>\\boxed{3} so \\boxed{4}</answer>", "holds several final answers"),
        ("<answer>3} and {4</answer>", "braces do not match"),
    ],
)
@pytest.mark.parametrize("reference", ["3", "4"])
def test_several_values_are_refused_unread(
    completion: str, says: str, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WORKERS, "compare", None)
    assert says in MATH.verify(completion, reference).detail


@pytest.mark.parametrize(
    ("completion", "reference", "expected"),
    [
        ("\\boxed{(x+1)^2}", "x^2+2x+1", "correct"),
        ("\\boxed{(x-1)^2}", "x^2+2x+1", "incorrect"),
        ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}", "correct"),
        ("\\boxed{x**2+1}", "x^2+1", "correct"),
        ("\\boxed{2π}", "2\\pi", "correct"),
        ("\\boxed{4, 3}", "3, 4", "correct"),
        ("\\boxed{3, 4}", "3", "incorrect"),
        ("\\boxed{(1,2]}", "[1,2)", "incorrect"),
        ("\\boxed{1 2}", "12", "incorrect"),
        ("<answer>3} or \\boxed{4</answer>", "4", "incorrect"),
        ("\\boxed{3}\\boxed{4}", "3", "incorrect"),
        ("\\boxed{}", "0", "incorrect"),
    ],
)
def test_computer_algebra(completion: str, reference: str, expected: str) -> None:
    assert status(completion, reference) == expected


def test_hostile_answers_are_wrong_and_the_next_one_is_judged() -> None:
    verdict = MATH.verify("\\boxed{9^{9^{9^9}}}", "12")
    assert verdict.status is Status.INCORRECT
    assert "too much time or memory" in verdict.detail
    assert status("\\boxed{\\sqrt{4}}", "2") == "correct"
    for hostile in ("(" * 300 + "1" + ")" * 300, "{" * 300 + "}" * 300, "1+" * 800 + "1", "9" * 4000, "}{"):
        assert status(f"<answer>{hostile}</answer>", "12") == "incorrect"


def test_a_reference_that_cannot_be_parsed_is_an_error() -> None:
    for reference in ("\\frac{", "}", "\\text{}"):
        verdict = MATH.verify("\\boxed{\\sqrt{5}}", reference)
        assert (verdict.status, verdict.reward) == (Status.ERROR, None), reference
        assert "cannot be used" in verdict.detail


def test_a_worker_that_is_killed_is_replaced() -> None:
    assert status("\\boxed{\\sqrt{9}}", "3") == "correct"
    (worker,) = WORKERS._idle
    os.kill(worker._process.pid, signal.SIGKILL)
    assert status("\\boxed{\\sqrt{9}}", "3") == "correct"
    assert WORKERS._idle != [worker]


def test_no_signal_of_this_process_is_touched() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF)]
    assert status("\\boxed{\\sqrt{16}}", "4") == "correct"
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF)] == before
    assert "sympy" not in sys.modules or "math_verify" not in sys.modules


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_a_worker_that_cannot_start_is_an_error(python: str) -> None:
    domain = MathDomain(MathWorkers(python=python))
    verdict = domain.verify("\\boxed{\\sqrt{4}}", "2")
    assert (verdict.status, verdict.reward) == (Status.ERROR, None)
    assert "start" in verdict.detail
    assert domain.verify("#### 2", "2").status is Status.CORRECT


@pytest.mark.parametrize("reference", [None, 12, "", "  ", ["12"], {"answer": "12"}, "1" * 2000])
def test_references_of_the_wrong_form(reference: object) -> None:
    with pytest.raises(ProblemError, match="math: the reference"):
        MATH.check_reference(reference)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("+12", 12),
        ("- 3", -3),
        (".5", Fraction(1, 2)),
        ("3.", 3),
        ("\\dfrac{-3}{4}", Fraction(-3, 4)),
        ("2 3/4", Fraction(11, 4)),
        ("1.5e-3", Fraction(3, 2000)),
        ("12,345,678", 12345678),
        ("€ 5", 5),
        ("-$5", -5),
        ("90^\\circ", 90),
    ],
)
def test_plain_numbers(text: str, value: Fraction) -> None:
    number = read_number(text)
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "3x",
        "3, 4",
        "2 pi",
        "3 sqrt 2",
        "3 or 4",
        "1/0",
        "1,23",
        "1e9999",
        "9" * 500,
        "twelve",
        "12 million",
        "1 2",
    ],
)
def test_not_plain_numbers(text: str) -> None:
    assert read_number(text) is None
