"""The effect matrix and forgetting over evaluations on disk: planted effects, by hand, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.sections.effects import effect_matrix, effects_section, in_words, trained_domains
from mcpo_rl.analysis.sections.forgetting import of_run, standings
from mcpo_rl.errors import ProblemError
from mcpo_rl.scores import EvaluationRecord, ProblemScore

Correct = dict[str, list[int]]
"""Correct completions of 4, by domain and problem."""

BASE: Correct = {"math": [2] * 12, "code": [2] * 12, "logic": [2, 2]}


def evaluation(correct: Correct, *, prefix: str = "", errors: int = 0) -> EvaluationRecord:
    return EvaluationRecord(
        model="m",
        settings={"samples": 4},
        scores=[
            ProblemScore(key=f"{prefix}{domain}{number}", domain=domain, samples=4, correct=solved, errors=errors)
            for domain, own in correct.items()
            for number, solved in enumerate(own)
        ],
    )


def run(name: str, trained: list[str], end: Correct | None, *, start: Correct | None = BASE, **more: Any) -> RunData:
    rows = [{"step": 1, **{f"domain/{domain}/share": 1 / len(trained) for domain in trained}, "domain/absent/share": 0}]
    options: dict[str, Any] = {"method": "grpo", "config": {"model": "m"}, **more}
    return RunData(
        name=name,
        path=Path(name),
        metrics=rows,
        start=None if start is None else evaluation(start),
        end=None if end is None else evaluation(end),
        **options,
    )


MATH = run("a", ["math"], {"math": [4] * 12, "code": [0] * 12, "logic": [2, 3]})
CODE = run("b", ["code"], {"math": [3] * 12, "code": [4] * 12, "logic": [2, 2]}, start=None)


def test_planted_interference_and_transfer_show():
    matrix = effect_matrix([CODE, MATH])
    assert matrix.rows == ("math", "code") and matrix.columns == ("math", "code", "logic")
    values = {pair: cell.value for pair, cell in matrix.cells.items()}
    assert values == pytest.approx(
        {
            ("math", "math"): 0.5,
            ("math", "code"): -0.5,
            ("math", "logic"): 0.125,
            ("code", "math"): 0.25,
            ("code", "code"): 0.5,
            ("code", "logic"): 0.0,
        }
    )
    harmed = matrix.cells["math", "code"]
    assert harmed.clear and harmed.worse == 12 and harmed.p_value == pytest.approx(2 / 2**12)
    assert not matrix.cells["math", "logic"].clear  # two problems
    words = in_words(matrix)
    assert words[0].startswith("Harmed: code by training on math −0.500")
    assert words[1].startswith("Helped: math by training on code +0.250")
    assert len(words) == 2


def test_seeds_are_averaged_problem_by_problem():
    other = run("c", ["math"], {"math": [0] * 12, "code": [2] * 12, "logic": [2, 2]})
    matrix = effect_matrix([MATH, other])
    assert matrix.runs == {"math": 2}
    assert matrix.cells["math", "math"].value == pytest.approx(0.0)
    assert matrix.cells["math", "code"].value == pytest.approx(-0.25)
    assert matrix.cells["math", "code"].problems == 12
    assert "means over them" in in_words(matrix)[-1]


def test_methods_on_the_same_domains_are_rows_of_their_own():
    both = ["math", "code"]
    runs = [run("g", both, BASE), run("m", both, BASE, method="mcpo"), MATH]
    assert effect_matrix(runs).rows == ("math", "math + code (grpo)", "math + code (mcpo)")
    assert "Lost although it was trained on" in " ".join(
        in_words(effect_matrix([run("x", both, {**BASE, "code": [0] * 12})]))
    )


def test_what_cannot_be_compared_is_left_out_and_said():
    stranger = run("d", ["logic"], None)
    stranger.start, stranger.end = evaluation(BASE, prefix="x"), evaluation(BASE, prefix="x")
    moved = run("e", ["logic"], BASE)
    moved.end = evaluation(BASE, prefix="y")
    matrix = effect_matrix([MATH, CODE, stranger, moved, run("f", ["logic"], None)])
    assert matrix.rows == ("math", "code")
    assert [remark.split(":")[0] for remark in matrix.remarks] == [f"{name} is left out" for name in "efd"]
    assert "other problems" in matrix.remarks[0] and "no evaluation after training" in matrix.remarks[1]


def test_problems_that_were_not_judged_are_no_effect():
    broken = run("g", ["math"], BASE)
    broken.end = evaluation({domain: [0] * len(own) for domain, own in BASE.items()}, errors=4)
    assert effect_matrix([broken]).rows == ("math",)
    assert not effect_matrix([broken]).cells


def test_trained_domains_had_a_share():
    assert trained_domains(run("h", ["code", "math"], None)) == ("math", "code")


def test_the_section_has_a_figure_or_says_what_is_missing():
    section = effects_section([MATH, CODE])
    figure = section.groups[0].panels[0].figure["data"][0]
    assert figure["y"] == ["math", "code"] and figure["x"] == ["math", "code", "logic"]
    assert figure["z"][0] == [0.5, -0.5, 0.125]
    empty = effects_section([run("i", ["math"], None)])
    assert empty.empty and "i is left out" in empty.missing


def test_cells_are_short_and_the_table_has_the_intervals():
    section = effects_section([MATH, run("j", ["math", "code", "logic"], BASE)])
    figure, table = section.groups[0].panels[0].figure["data"][0], section.groups[1].table
    assert figure["y"] == ["math", "all"], "fits beside a figure on a phone"
    assert figure["text"][0][0] == "+0.50*" and figure["text"][1][0] == "+0.00"
    assert table is not None and [row[0] for row in table.rows] == ["math", "math + code + logic"]
    assert table.rows[0][1].startswith("+0.500 (") and (0, 1) in table.marked and (1, 1) not in table.marked


def test_json_is_plain():
    data = effect_matrix([MATH]).to_json()
    assert data["rows"][0]["effects"]["code"]["value"] == -0.5


def test_forgetting_over_stages():
    later = evaluation({**BASE, "code": [0] * 12})
    found = standings([evaluation(BASE), later, later])
    assert [one["code"].alarm for one in found] == [False, True, True]
    assert found[1]["code"].below == 0.5 and not found[1]["math"].alarm
    assert of_run(MATH)["code"].alarm and not of_run(MATH)["math"].alarm
    assert of_run(CODE) == {}
    with pytest.raises(ProblemError, match="different problems"):
        standings([evaluation(BASE), evaluation(BASE, prefix="x")])
