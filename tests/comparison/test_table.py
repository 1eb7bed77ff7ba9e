"""The tables: the numbers in their places, and the notes that say how to read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from mcpo_rl.comparison.evidence import difference_grid
from mcpo_rl.comparison.plan import Plan, read_plan
from mcpo_rl.comparison.result import ComparisonResult, collect
from mcpo_rl.comparison.table import cost_grid, duration, latex, markdown, notes, save_tables, text
from mcpo_rl.runs import RunDirectory

ACCURACIES = {
    "grpo": {"math": [0.5] * 8, "code": [0.0] * 8, "logic": [1.0, 0.5] * 4},
    "mcpo": {"math": [1.0] * 8, "code": [0.5] * 8, "logic": [1.0, 0.5] * 4},
    "single": {"math": [1.0] * 8, "code": [1.0] * 8, "logic": [1.0] * 8},
}
Planned = Callable[..., Plan]
Finish = Callable[..., RunDirectory]

START = {"math": [0.0] * 8, "code": [0.0] * 8, "logic": [0.5] * 8}


def compared(planned: Planned, finish: Finish, seeds: tuple[int, ...]) -> ComparisonResult:
    plan = planned(["grpo", "mcpo", "single"], seeds)
    rows = [{"step": 60, "step_time": 2.0, "num_tokens": 123456.0}]
    for task in plan.tasks:
        finish(
            plan, task, ACCURACIES[task.method], start=START if task.name in plan.starts.values() else None, rows=rows
        )
    return collect(plan)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown(planned: Planned, finish: Finish) -> None:
    result = compared(planned, finish, (0, 1, 2))
    lines = markdown(result).splitlines()
    head = cells(lines[2])
    assert head[:5] == ["accuracy", "code", "logic", "math", "mean"]
    assert head[5:] == ["worst-domain gain", "over single-domain", "minus GRPO"]
    table = {cells(line)[0]: cells(line) for line in lines[4:8]}
    assert table["start"][1:4] == ["0.000 (0.000, 0.324)", "0.500 (0.500, 0.500)", "0.000 (0.000, 0.324)"]
    mcpo = dict(zip(head, table["MCPO"], strict=True))
    assert mcpo["code"] == "0.500 (0.500, 0.500)" and mcpo["mean"].startswith("0.750 (")
    assert mcpo["worst-domain gain"] == "+0.250"
    assert mcpo["minus GRPO"].startswith("+0.333 (+0.333, +0.333)")
    assert table["GRPO"][-1] == "" and table["single-domain"][head.index("over single-domain")] == ""
    costs = [cells(line) for line in lines if line.startswith("| single-domain |")][-1]
    assert costs == ["single-domain", "3", "180", "1,920", "1,920", "1,920", "5,760", "370,368", "6 min 0 s"]
    notes = "\n".join(line for line in lines if line.startswith("- "))
    assert "seeds 0, 1, 2; every method starts from builtin:tiny" in notes
    assert "builtin:tiny with the same problems in the same order." in notes
    assert "Budget per-domain: every domain gets the same rollouts with every method" in notes
    assert "over the held-out problems" in notes and "leave 0 out" in notes


def test_a_clear_difference_is_marked(planned: Planned, finish: Finish) -> None:
    # All seeds agree here, so the interval is the problems': clear from three seeds on.
    line = next(line for line in text(compared(planned, finish, (0, 1, 2))).splitlines() if line.startswith("MCPO"))
    assert "+0.333 (+0.333, +0.333)*" in line
    shown = text(compared(planned, finish, (0, 1)))
    assert "*" not in shown


def test_text_is_aligned(planned: Planned, finish: Finish) -> None:
    shown = text(compared(planned, finish, (0,)))
    table = shown.split("\n\n")[0].splitlines()
    assert len(table) == 5 and table[0].startswith("accuracy")
    for line in table[1:]:  # numbers end where their heads end
        assert line[: table[0].index("code") + len("code")].endswith(")")
    assert "seed 0; every method" in shown and "95% interval over seeds" not in shown


def test_tests_of_differences_have_their_table(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo"], (0, 1, 2, 3))
    plan.write()
    plan = planned(["pcgrad"], (0, 1, 2), earlier=read_plan(plan.path))
    for task in plan.tasks:
        right = {"grpo": 1, "mcpo": 4 + task.seed, "pcgrad": 1 + task.seed % 2}[task.method]
        finish(plan, task, {domain: [1.0] * right + [0.0] * (8 - right) for domain in START})
    result = collect(plan)
    head, mcpo, pcgrad = ([cell.value for cell in row] for row in difference_grid(result))
    assert head[2:6] == ["pairs of seeds", "p", "p (Holm)", "p (sign flips)"]
    assert mcpo[0] == "MCPO minus GRPO" and mcpo[2] == "4" and mcpo[5] == "0.125"
    assert pcgrad[2] == "3", "paired over the seeds that both have"
    assert float(mcpo[3]) < float(mcpo[4]) == pytest.approx(2 * float(mcpo[3]), abs=0.001)
    assert len(difference_grid(result, domains=True)) == 1 + 2 * 4
    shown = text(result)
    assert "seeds 0, 1, 2, 3 (PCGrad 0, 1, 2); every" in shown and "p (Holm), * and the simultaneous" in shown
    table = [line.split() for line in shown.split("\n\n")[0].splitlines()]
    assert table[0][1] == "seeds" and [line[1] for line in table[2:]] == ["4", "4", "3"]
    assert "MCPO minus GRPO, math" in markdown(result) and "MCPO minus GRPO, math" not in shown
    assert not difference_grid(compared(planned, finish, (0,)))[1:], "one seed gives no test"


def test_what_is_missing_is_named(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo"], (0, 1))
    finish(plan, plan.of("grpo", 0)[0], ACCURACIES["grpo"])
    result = collect(plan)
    shown = text(result)
    assert "MCPO, seed 1, is missing: mcpo/seed_1 not started." in shown
    assert [cell.value for cell in cost_grid(result)[2]] == ["MCPO", *["-"] * 8]
    assert "minus" not in shown.splitlines()[0], "there is nothing to subtract"


def test_notes_do_not_contradict_each_other(planned: Planned, finish: Finish) -> None:
    plan = replace(planned(["merge"]), remarks=("The order differs.",))
    for task in plan.tasks:
        finish(plan, task, ACCURACIES["grpo"])
    said = " ".join(notes(collect(plan)))
    assert "with the same problems. Budget" in said and "The order differs." in said
    assert "What is merged costs what its specialists cost" in said


def test_latex(planned: Planned, finish: Finish) -> None:
    result = compared(planned, finish, (0, 1, 2))
    result = replace(result, domains=["code", "logic", "math"], remarks=["100% of it"])
    source = latex(result)
    assert source.count(r"\begin{tabular}") == source.count(r"\end{tabular}") == 3
    for table in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", source, re.DOTALL):
        columns = len(table[0])
        lines = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert lines and all(line.count(" & ") == columns - 1 for line in lines)
    assert r"$+0.333$$^*$ {\scriptsize $(+0.333, +0.333)$}" in source
    comments = [line for line in source.splitlines() if "100%" in line]
    assert comments == ["% 100% of it"]


def test_latex_escapes(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo"])
    finish(plan, plan.tasks[0], {"math": [1.0], "code": [1.0], "logic": [1.0], "a_b & 5%": [1.0]})
    result = collect(plan)
    assert r"a\_b \& 5\%" in latex(result)
    assert "a_b & 5%" in markdown(result)


def test_files(planned: Planned, finish: Finish) -> None:
    result = compared(planned, finish, (0,))
    save_tables(result)
    assert (result.plan.path / "comparison.md").read_text() == markdown(result)
    assert (result.plan.path / "comparison.tex").read_text() == latex(result)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7_500, "2 h 5 min"), (90_000, "25 h 0 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
