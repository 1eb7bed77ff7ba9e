"""Learning curves against numbers worked out by hand: areas, steps to a target, and what counts as not reached."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.comparison.budget import Batch
from mcpo_rl.comparison.curves import MEAN, Point, StepsToTarget, area, first_reached, halfway, levels
from mcpo_rl.comparison.evidence import curve_grid, curve_notes
from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.comparison.result import ComparisonResult, collect
from mcpo_rl.config import Recipe
from mcpo_rl.runs import RunDirectory

Planned = Callable[..., Plan]
Finish = Callable[..., RunDirectory]

DONE = {"math": [1.0], "code": [1.0], "logic": [1.0]}
RISING = [Point(step, 1, accuracy) for step, accuracy in enumerate([0.0, 0.4, 0.2, 0.6, 0.8], start=1)]


def logged(accuracies: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """A line for each step; NaN: no rollout of the domain was judged there."""
    lines = []
    for place in range(len(next(iter(accuracies.values())))):
        row: dict[str, Any] = {"step": place + 1}
        for domain, values in accuracies.items():
            row[f"domain/{domain}/share"] = 1 / 3
            row |= {} if math.isnan(values[place]) else {f"domain/{domain}/accuracy": values[place]}
        lines.append(row)
    return [*lines, {"step": len(lines), "train_runtime": 3.0}]


def test_area() -> None:
    assert area(RISING) == pytest.approx(0.4)
    assert area([Point(10, 10, 0.2), Point(15, 5, 0.5)]) == pytest.approx((10 * 0.2 + 5 * 0.5) / 15)
    assert math.isnan(area([]))


def test_trailing_means() -> None:
    assert levels(RISING, 1) == [(1, 0.0), (2, 0.4), (3, 0.2), (4, 0.6), (5, 0.8)]
    assert levels(RISING, 2) == [pytest.approx(level) for level in [(2, 0.2), (3, 0.3), (4, 0.4), (5, 0.7)]]
    # Lines that average ten steps each stand for themselves where the window is shorter, and before it there is none.
    apart = [Point(10, 10, 0.2), Point(20, 10, 0.6)]
    assert levels(apart, 5) == [(10, 0.2), (20, 0.6)]
    assert levels(apart, 20) == [(20, pytest.approx(0.4))]
    assert levels(apart, 30) == []


def test_the_first_step_at_a_target() -> None:
    assert first_reached(RISING, 0.4, 1) == 2
    assert first_reached(RISING, 0.4, 2) == 4, "0.4 at step 2 was one lucky batch"
    assert first_reached(RISING, 0.9, 1) is None
    assert first_reached(RISING, 0.0, 3) == 3, "before that there are no three steps"
    assert first_reached([Point(1, 1, 0.7), Point(2, 1, 0.1)], 0.4, 2) == 2, "up to rounding"


def test_halfway() -> None:
    falling = [Point(1, 1, 0.9), Point(2, 1, 0.1)]
    assert halfway([RISING], 2) == pytest.approx((0.2 + 0.7) / 2)
    # From the mean beginning, (0 + 0.9) / 2, to the mean end, (0.8 + 0.1) / 2: no rise.
    assert halfway([RISING, falling], 1) is None
    assert halfway([], 1) is None and halfway([RISING], 6) is None


@pytest.mark.parametrize(
    ("steps", "median", "reached"),
    [
        ([9, 5, 7], 7, 3),
        ([9, None, 7], 9, 2),
        ([None, 5, None], None, 1),
        ([8, 2, None, None], 8, 2),
        ([3, 1, 2, None], 2, 3),
        ([], None, 0),
    ],
)
def test_a_run_that_never_gets_there_counts(steps: list[int | None], median: int | None, reached: int) -> None:
    found = StepsToTarget(target=0.5, seeds=dict(enumerate(steps)))
    assert (found.median, found.reached) == (median, reached)
    assert found.to_json()["of"] == len(steps)


@pytest.fixture
def curved(tmp_path: Path, recipe: Recipe, batch: Batch, finish: Finish) -> Callable[..., ComparisonResult]:
    """A comparison of runs with six steps, by task name or method their curves."""

    def compared(curves: Mapping[str, Mapping[str, Sequence[float]]], seeds: Sequence[int], **more: Any) -> Any:
        six = replace(recipe, training=recipe.training | {"max_steps": 6})
        methods = list(dict.fromkeys(name.split("/")[0] for name in curves))
        plan = make_plan(tmp_path / "out", six, batch, dict.fromkeys(DONE, 40), methods=methods, seeds=seeds)
        for task in plan.tasks:
            own = curves.get(task.name, curves.get(task.method, {}))
            rows = logged({d: own[d] for d in own if task.domain in (None, d)}) if own else []
            finish(plan, task, DONE, rows=rows)
        return collect(plan, **more)

    return compared


def test_of_runs(curved: Callable[..., ComparisonResult]) -> None:
    slow, quick = [0.0, 0.0, 0.0, 0.2, 0.4, 0.6], [0.0, 0.4, 0.6, 0.6, 0.6, 0.6]
    result = curved(
        {
            "grpo/seed_0": {"math": slow, "code": slow, "logic": slow},
            "grpo/seed_1": {"math": quick, "code": slow, "logic": slow},
            "mcpo/seed_0": {"math": quick, "code": quick, "logic": slow},
            "mcpo/seed_1": {"math": quick, "code": slow, "logic": [0.0] * 6},
        },
        (0, 1),
        window=1,
    )
    grpo, mcpo = (row.progress for row in result.rows)
    assert grpo is not None and mcpo is not None and not grpo.against
    low, high = sum(slow) / 6, sum(quick) / 6
    assert grpo.area["math"].seeds == pytest.approx({0: low, 1: high})
    assert grpo.area[MEAN].seeds == pytest.approx({0: low, 1: (high + 2 * low) / 3})
    assert mcpo.against["code"].seeds == pytest.approx({0: high - low, 1: 0.0})
    assert mcpo.against[MEAN].seeds == pytest.approx({0: 2 * (high - low) / 3, 1: -low / 3})
    # GRPO begins at 0 and ends at 0.6 in every domain.
    assert result.targets.levels == pytest.approx(dict.fromkeys(["math", "code", "logic", MEAN], 0.3))
    assert grpo.steps["math"].seeds == {0: 5, 1: 2} and mcpo.steps["logic"].seeds == {0: 5, 1: None}
    assert mcpo.steps["logic"].median == 5 and mcpo.steps["logic"].reached == 1
    facts = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert facts["targets"] == {
        "window": 1,
        "given": False,
        "domains": pytest.approx(dict.fromkeys(["code", "logic", "math"], 0.3)),
        "mean": pytest.approx(0.3),
    }
    row = facts["rows"][1]
    assert row["steps_to_target"]["domains"]["logic"]["seeds"] == {"0": 5, "1": None}
    assert row["auc"]["mean"]["value"] == pytest.approx(mcpo.area[MEAN].value)
    assert row["auc_against"]["mean"]["p_sign_flip"] is not None and facts["rows"][0]["auc_against"] is None


def test_the_table_says_how_many_never_got_there(curved: Callable[..., ComparisonResult]) -> None:
    up, flat = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.1] * 6
    curves = {f"mcpo/seed_{seed}": dict.fromkeys(DONE, flat if seed else up) for seed in range(3)}
    result = curved({"grpo": dict.fromkeys(DONE, up), **curves}, range(3), target=0.5, window=2)
    head, grpo, mcpo = ([cell.value for cell in row] for row in curve_grid(result))
    assert head[-2:] == ["steps to 0.50 math", "steps to 0.50 mean"]
    assert grpo[-1] == "4 (3/3)" and mcpo[-1] == ">6 (1/3)"
    assert any("mean over the last 2 steps" in note and "halfway" not in note for note in curve_notes(result))


def test_specialists_and_what_has_no_curve(curved: Callable[..., ComparisonResult]) -> None:
    up = {"math": [0.0, 1.0] * 3, "code": [0.5] * 6, "logic": [0.25] * 6}
    result = curved({"grpo": up, "single": up, "merge": {}, "sequential": up}, (0,))
    grpo, single, sequential, merge = (row.progress for row in result.rows)
    assert grpo is not None and single is not None and grpo.area == single.area
    assert sequential is None and merge is None, "a stage is shorter, and nothing is trained where models are merged"
    assert [row[0].value for row in curve_grid(result)] == ["learning curve", "GRPO", "single-domain"]
    told = " ".join(curve_notes(result))
    assert "no target for code: the curve of GRPO is missing or does not rise" in told


def test_specialists_with_fewer_steps(tmp_path: Path, recipe: Recipe, batch: Batch, finish: Finish) -> None:
    short = replace(recipe, training=recipe.training | {"max_steps": 6, "mixture": "proportional"})
    plan = make_plan(tmp_path / "out", short, batch, {"math": 41, "code": 40}, methods=["grpo", "single"], seeds=[0])
    assert [task.steps for task in plan.of("single", 0)] == [3, 3]
    for task in plan.tasks:
        finish(plan, task, DONE, rows=logged({"math": [0.5] * task.steps, "code": [0.5] * task.steps}))
    grpo, single = (row.progress for row in collect(plan).rows)
    assert grpo is not None and single is None, "half as many updates: another quantity"


def test_steps_without_a_judged_rollout(curved: Callable[..., ComparisonResult]) -> None:
    nan = math.nan
    gaps = {"math": [0.2, nan, nan, 0.4, nan, 0.6], "code": [0.5] * 6, "logic": [0.5] * 6}
    progress = curved({"grpo": gaps}, (0,)).rows[0].progress
    assert progress is not None
    assert progress.area["math"].value == pytest.approx(0.4), "each of the three counts once"
    assert progress.area[MEAN].value == pytest.approx((0.4 + 0.5 + 0.5) / 3)


def test_a_batch_for_several_steps_counts_once(tmp_path: Path, recipe: Recipe, batch: Batch, finish: Finish) -> None:
    # Logged at the first of the two steps that it feeds; a line of steps 3 and 4 is of one batch too.
    rows = [{"step": step, "domain/math/accuracy": x} for step, x in ((1, 0.0), (3, 0.5), (5, 1.0))]
    short = replace(recipe, training=recipe.training | {"max_steps": 6})
    two = replace(batch, num_iterations=2)
    plan = make_plan(tmp_path / "out", short, two, {"math": 40, "code": 40}, methods=["grpo"], seeds=[0])
    finish(plan, plan.tasks[0], DONE, rows=rows)
    progress = collect(plan).rows[0].progress
    assert progress is not None and progress.area["math"].value == pytest.approx(0.5)
    assert MEAN not in progress.area, "code was not logged"
