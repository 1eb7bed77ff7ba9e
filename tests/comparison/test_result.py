"""The result against numbers worked out by hand, from run directories as runs leave them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.comparison.budget import Batch
from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.comparison.result import ComparisonResult, collect
from mcpo_rl.comparison.rows import Row
from mcpo_rl.comparison.seeds import student_quantile
from mcpo_rl.config import Recipe
from mcpo_rl.errors import ConfigError, ProblemError
from mcpo_rl.runs import RunDirectory

Planned = Callable[..., Plan]
Finish = Callable[..., RunDirectory]

START = {"math": [0.0, 0.0], "code": [0.5, 0.5], "logic": [1.0, 0.0]}
GRPO = {
    0: {"math": [1.0, 0.0], "code": [0.5, 0.5], "logic": [1.0, 1.0]},
    1: {"math": [1.0, 1.0], "code": [0.0, 0.5], "logic": [1.0, 0.0]},
    2: {"math": [0.5, 0.5], "code": [1.0, 0.5], "logic": [1.0, 0.5]},
}
"""Domain means 0.5 0.5 1, then 1 0.25 0.5, then 0.5 0.75 0.75; the start is 0 0.5 0.5."""
SPECIALISTS = {
    "math": {"math": [1.0, 0.5], "code": [0.0, 0.0], "logic": [0.0, 0.0]},
    "code": {"math": [0.0, 0.0], "code": [1.0, 1.0], "logic": [0.0, 0.0]},
    "logic": {"math": [0.0, 0.0], "code": [0.0, 0.0], "logic": [0.5, 0.5]},
}
"""Each on its own domain: 0.75 1 0.5."""


def row(result: ComparisonResult, method: str) -> Row:
    return next(row for row in result.rows if row.method == method)


@pytest.fixture
def measured(planned: Planned, finish: Finish) -> Plan:
    """GRPO and the specialists at three seeds."""
    plan = planned(["grpo", "single"], (0, 1, 2))
    for task in plan.tasks:
        if task.method == "grpo":
            finish(plan, task, GRPO[task.seed], start=START)
        else:
            finish(plan, task, SPECIALISTS[str(task.domain)])
    return plan


def test_accuracies_and_gains(measured: Plan) -> None:
    result = collect(measured)
    grpo = row(result, "grpo")
    assert result.complete and result.domains == ["code", "logic", "math"] and not result.untrained
    assert grpo.accuracy["math"].value == pytest.approx(2 / 3)
    assert grpo.accuracy["math"].seeds == {0: 0.5, 1: 1.0, 2: 0.5}
    means = [2 / 3, 1.75 / 3, 2 / 3]
    assert list(grpo.mean.seeds.values()) == pytest.approx(means)
    spread = math.sqrt(sum((mean - sum(means) / 3) ** 2 for mean in means) / 2)
    half = student_quantile(0.975, 2) * spread / math.sqrt(3)
    assert grpo.mean.high - grpo.mean.value == pytest.approx(half)
    assert {name: gain.value for name, gain in grpo.gain.items()} == pytest.approx(
        {"math": 2 / 3, "code": 0, "logic": 0.25}
    )
    assert grpo.mean_gain.value == pytest.approx(sum(means) / 3 - 1 / 3)
    # The gains of the seeds: 0.5 0 0.5, then 1 -0.25 0, then 0.5 0.25 0.25.
    assert grpo.worst_domain_gain.seeds == pytest.approx({0: 0.0, 1: -0.25, 2: 0.25})
    assert grpo.worst_domain == "code"
    assert result.start_mean.value == pytest.approx(1 / 3) and result.start_mean.over == "problems"


def test_a_worst_domain_is_named_only_where_it_is_so_at_every_seed(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo"], (0, 1))
    for task, (math_, code) in zip(plan.tasks, [(0.0, 1.0), (1.0, 0.0)], strict=True):
        after = {"math": [math_, 1.0], "code": [code, 1.0], "logic": [1.0, 1.0]}
        finish(plan, task, after, start={domain: [0.5, 0.5] for domain in after})
    grpo = row(collect(plan), "grpo")
    assert grpo.worst_domain_gain.value == 0.0 and grpo.gain["math"].value == grpo.gain["code"].value == 0.25
    assert grpo.worst_domain is None, "0 is the gain of no domain"


def test_single_takes_each_domain_from_its_own_specialist(measured: Plan) -> None:
    result = collect(measured)
    single = row(result, "single")
    assert {name: value.value for name, value in single.accuracy.items()} == {"math": 0.75, "code": 1.0, "logic": 0.5}
    assert single.runs[1] == {domain: f"runs/single/seed_1/{domain}" for domain in ("math", "code", "logic")}
    over = row(result, "grpo").over_single
    assert over is not None and single.over_single is None
    assert over.domains["code"].seeds == pytest.approx({0: -0.5, 1: -0.75, 2: -0.25})
    assert over.mean.value == pytest.approx((2 / 3 + 1.75 / 3 + 2 / 3) / 3 - 0.75)
    assert single.against is not None and single.against.mean.value == pytest.approx(-over.mean.value)


def test_the_interval_over_problems_draws_problems(measured: Plan) -> None:
    result = collect(measured)
    over = row(result, "grpo").over_single
    assert over is not None
    # The mean over the seeds of code's two problems: 0.5 - 1 and 0.5 - 1. Every draw is the same.
    problems = over.domains["code"].problems
    assert (problems.low, problems.high, problems.problems) == pytest.approx((-0.5, -0.5, 2))
    # Of math: 2.5 / 3 - 1 and 1.5 / 3 - 0.5; the ends are both draws of one of them.
    problems = over.domains["math"].problems
    assert (problems.low, problems.high) == pytest.approx((2.5 / 3 - 1, 0.0))


def test_every_run_is_handed_the_start_that_it_had(measured: Plan, planned: Planned, finish: Finish) -> None:
    collect(measured)
    for task in measured.tasks:
        start = json.loads((measured.run(task) / "eval_start.json").read_text())
        assert start["domains"]["code"]["accuracy"]["value"] == 0.5
    plan = planned(["grpo", "sequential"], (0,))
    stages = plan.of("sequential", 0)
    for number, task in enumerate(stages):
        finish(plan, task, {domain: [number / 2] for domain in START})
    result = collect(plan)
    starts = [
        json.loads((plan.run(task) / "eval_start.json").read_text())["macro"]["accuracy"]["value"] for task in stages
    ]
    assert starts == pytest.approx([1 / 3, 0.0, 0.5])
    last = row(result, "sequential")
    assert last.mean.value == 1.0 and last.runs == {0: {"": "runs/sequential/seed_0/logic"}}


def test_what_is_missing_is_said_and_the_rest_shown(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo", "merge"], (0, 1))
    result = collect(plan)
    assert not result.complete and not result.domains
    assert row(result, "merge").missing[0] == "merge/seed_0 not started"
    finish(plan, plan.of("mcpo", 1)[0], GRPO[1])
    finish(plan, plan.of("single", 0)[0], SPECIALISTS["math"])
    failed = RunDirectory.create(plan.run("single/seed_0/code"), {})
    failed.write_manifest(status="failed", error="RunError: no\nspace")
    result = collect(plan)
    assert row(result, "mcpo").seeds == [1] and row(result, "mcpo").missing == {0: "mcpo/seed_0 not started"}
    assert row(result, "mcpo").mean.value == pytest.approx(1.75 / 3) and row(result, "mcpo").mean.over == "problems"
    assert math.isnan(row(result, "mcpo").mean_gain.value) and row(result, "mcpo").worst_domain is None
    assert row(result, "mcpo").against is None, "no seed of GRPO to pair it with"
    assert row(result, "single").missing[0] == "single/seed_0/code failed: RunError: no space (and 1 more)"
    text = json.dumps(result.to_json(), allow_nan=False)
    assert json.loads(text)["rows"][0]["cost"] is None
    plan.run("mcpo/seed_1").joinpath("eval.json").unlink()
    assert row(collect(plan), "mcpo").missing[1] == "mcpo/seed_1 is trained but not evaluated"


def test_pairs_are_of_the_same_seed(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo"], (0, 1, 2))
    for seed in (0, 1):
        finish(plan, plan.of("grpo", seed)[0], GRPO[seed])
    for seed in (1, 2):
        finish(plan, plan.of("mcpo", seed)[0], GRPO[seed - 1])
    against = row(collect(plan), "mcpo").against
    assert against is not None and against.method == "grpo"
    assert against.mean.seeds == pytest.approx({1: 2 / 3 - 1.75 / 3})
    other = row(collect(plan, reference="mcpo"), "grpo").against
    assert other is not None and other.mean.value == pytest.approx(-against.mean.value)
    with pytest.raises(ConfigError, match="--against merge: the comparison has grpo, mcpo"):
        collect(plan, reference="merge")


def test_several_comparisons_are_corrected(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo", "pcgrad"], (0, 1, 2))
    shifted = {"grpo": 0, "mcpo": 1, "pcgrad": 2}
    for task in plan.tasks:
        finish(plan, task, GRPO[(task.seed + shifted[task.method]) % 3])
    result = collect(plan)
    against = [found for name in ("mcpo", "pcgrad") if (found := row(result, name).against) is not None]
    low, high = sorted(float(one.mean.p or 0) for one in against)
    adjusted = sorted(float(one.mean.p_holm or 0) for one in against)
    assert adjusted == pytest.approx([min(1, 2 * low), max(high, min(1, 2 * low))])
    assert [one.mean.family for one in against] == [2, 2]
    # In the domains: one family of two methods and three domains, without what has no test.
    tests = [one.domains[domain] for one in against for domain in result.domains]
    known = sorted(float(one.p) for one in tests if one.p is not None)
    smallest = min((one for one in tests if one.p is not None), key=lambda one: float(one.p or 0))
    assert smallest.p_holm == pytest.approx(min(1, len(known) * known[0])) and smallest.family == len(known) == 6
    facts = json.loads(json.dumps(result.to_json(), allow_nan=False))["rows"][1]["against"]["mean"]
    assert facts["p_holm"] == against[0].mean.p_holm and len(facts["simultaneous"]) == 2


def test_a_verifier_that_fails_is_no_wrong_answer(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo"])
    for task in plan.tasks:
        run = finish(plan, task, {"math": [1.0, 0.0], "code": [1.0], "logic": [1.0]}, start=START)
    record = json.loads(run.eval_file.read_text())
    record["scores"][1]["errors"] = 2  # the second problem of math: nothing of it was judged
    run.eval_file.write_text(json.dumps(record))
    result = collect(plan)
    assert row(result, "mcpo").accuracy["math"].value == 1.0
    against = row(result, "mcpo").against
    assert (
        against is not None and against.domains["math"].value == 0.0 and against.domains["math"].problems.problems == 1
    )


def test_domains_that_are_evaluated_only(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "single"])
    extra = {"science": [1.0]}
    for task in plan.tasks:
        finish(plan, task, (GRPO[0] if task.domain is None else SPECIALISTS[task.domain]) | extra, start=START | extra)
    result = collect(plan)
    assert result.untrained == ["science"] and "science" not in result.domains
    assert row(result, "grpo").accuracy["science"].value == 1.0
    assert row(result, "grpo").mean.value == pytest.approx(2 / 3)
    assert math.isnan(row(result, "single").accuracy["science"].value), "no specialist was trained for it"


def test_a_domain_without_held_out_problems(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo"])
    finish(plan, plan.tasks[0], {"math": [1.0], "code": [0.5]})
    assert "No held-out problem is of logic: what is trained there is not seen." in collect(plan).remarks


def test_other_problems_are_refused(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo", "single"])
    finish(plan, plan.of("grpo", 0)[0], GRPO[0], heldout="a")
    finish(plan, plan.of("mcpo", 0)[0], GRPO[0], heldout="b")
    with pytest.raises(ProblemError, match="runs/grpo/seed_0 and runs/mcpo/seed_0 were evaluated on different"):
        collect(plan)
    for task, mark in zip(plan.of("single", 0), "aab", strict=True):
        finish(plan, task, SPECIALISTS[str(task.domain)], heldout=mark)
    with pytest.raises(ProblemError, match="were evaluated on different held-out problems"):
        collect(plan)


def logged(**more: Any) -> list[dict[str, Any]]:
    """Two lines: the first averages 20 steps, the second 40; then the trainer's summary."""
    return [
        {"step": 20, "step_time": 2.0, "num_tokens": 1000.0, **{key: values[0] for key, values in more.items()}},
        {"step": 60, "step_time": 0.5, "num_tokens": 2500.0, **{key: values[1] for key, values in more.items()}},
        {"step": 60, "train_runtime": 99.0},
    ]


def test_costs(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "merge"], (0, 1))
    shares = {"domain/math/share": (0.5, 0.2), "domain/code/share": (0.25, 0.4), "domain/logic/share": (0.25, 0.4)}
    resampled = {"mixture/resampled_groups": (1.0, 0.0)}
    for task in plan.tasks:
        finish(plan, task, GRPO[0], rows=logged(**shares, **resampled) if task.method == "grpo" else logged())
    result = collect(plan)
    grpo = row(result, "grpo").cost
    assert (grpo.runs, grpo.steps, grpo.rollouts, grpo.tokens) == (1, 60, 5760, 2500)
    assert grpo.seconds == 20 * 2.0 + 40 * 0.5
    assert grpo.domains == pytest.approx({"math": 0.3 * 5760, "code": 0.35 * 5760, "logic": 0.35 * 5760})
    assert grpo.resampled == 20 * 1.0 * 8
    merge = row(result, "merge").cost
    assert merge == row(result, "single").cost
    assert (merge.runs, merge.steps, merge.rollouts, merge.tokens) == (3, 180, 5760, 7500)
    assert merge.domains == {"math": 1920, "code": 1920, "logic": 1920}


@pytest.mark.parametrize(("change", "after", "groups"), [("num_iterations", 3, 2 + 3), ("accumulation", 2, 4 + 6)])
def test_resampled_groups_are_counted_by_generation_batch(
    change: str, after: int, groups: int, tmp_path: Path, recipe: Recipe, batch: Batch, finish: Finish
) -> None:
    # One batch for two steps, logged at the first of them; or two batches for a step, a line being their mean.
    two = replace(batch, **{change: 2})
    plan = make_plan(tmp_path / "out", recipe, two, {"math": 40, "code": 40, "logic": 40}, methods=["grpo"], seeds=[0])
    rows = [{"step": 1, "mixture/resampled_groups": 2.0}, {"step": after, "mixture/resampled_groups": 3.0}]
    finish(plan, plan.tasks[0], GRPO[0], rows=rows)
    assert row(collect(plan), "grpo").cost.resampled == groups * 8


def test_processes_count(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo"])
    finish(plan, plan.tasks[0], GRPO[0]).write_manifest(status="finished", processes=4)
    finish(plan, plan.tasks[1], GRPO[0])
    result = collect(plan)
    assert row(result, "grpo").cost.rollouts == 4 * 5760
    assert any("different numbers of processes" in remark for remark in result.remarks)
    assert math.isnan(row(result, "grpo").cost.tokens) and math.isnan(row(result, "grpo").cost.seconds)


def test_comparison_json(measured: Plan, tmp_path: Path) -> None:
    result = collect(measured)
    result.save()
    facts = json.loads((measured.path / "comparison.json").read_text())
    assert facts["format"] == 1 and facts["complete"] and facts["reference"] == "grpo"
    assert facts["budget"]["convention"] == "per-domain" and facts["budget"]["steps"] == 60
    assert facts["start"]["runs"] == {"0": "runs/grpo/seed_0", "1": "runs/grpo/seed_1", "2": "runs/grpo/seed_2"}
    grpo, single = facts["rows"]
    assert grpo["accuracy"]["math"]["seeds"] == {"0": 0.5, "1": 1.0, "2": 0.5}
    assert grpo["over_single"]["mean"]["clear"] is False and grpo["over_single"]["mean"]["p"] > 0
    assert single["runs"]["0"]["math"] == "runs/single/seed_0/math"
    for place in [*grpo["runs"].values(), *single["runs"].values()]:
        assert all((measured.path / run / "eval.json").is_file() for run in place.values())
