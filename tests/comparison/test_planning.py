"""The plan: which runs there are, what each differs in, what is refused, and how a comparison goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcpo_rl.comparison.budget import Batch
from mcpo_rl.comparison.methods import METHODS, methods_of
from mcpo_rl.comparison.plan import Plan, read_plan
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.config import ProbeOptions, Recipe, load_recipe
from mcpo_rl.errors import ConfigError, RunError

Planned = Callable[..., Plan]
ALL_DIFFER = {"output_dir", "run_name"}


def differing(plan: Plan, name: str, other: str) -> dict[str, Any]:
    """The keys in which two recipes of the plan differ, with the first one's values."""
    first, second = (next(task.recipe for task in plan.tasks if task.name == place) for place in (name, other))
    keys = first.keys() | second.keys()
    return {key: first.get(key) for key in keys if first.get(key) != second.get(key)}


def test_methods_by_name() -> None:
    assert methods_of(["merge-ties", "mcpo"]) == ["mcpo", "single", "merge-ties"]
    assert methods_of(["grpo", "grpo"]) == ["grpo"]
    with pytest.raises(ConfigError, match=r"no method `mpco`.*Did you mean `mcpo`"):
        methods_of(["mpco"])
    with pytest.raises(ConfigError, match="at least one method: grpo, mcpo"):
        methods_of([])


def test_runs_of_one_seed_differ_in_the_method_alone(planned: Planned) -> None:
    names = [name for name, method in METHODS.items() if method.kind == "mixed"]
    assert len(names) == 8 and names[0] == "grpo"
    plan = planned(names)
    for name in names[1:]:
        changed = differing(plan, f"{name}/seed_0", "grpo/seed_0")
        assert changed.keys() == {*METHODS[name].changes} | ALL_DIFFER | {"evaluation"}
        assert {key: changed[key] for key in METHODS[name].changes} == METHODS[name].changes
        assert changed["evaluation"]["before"] is False


def test_seeds_differ_in_the_seed_alone(planned: Planned) -> None:
    plan = planned(["mcpo", "single"], (3, 5))
    for name in ("mcpo/seed_%d", "single/seed_%d/math"):
        changed = differing(plan, name % 5, name % 3)
        assert changed.keys() == {"seed", "head_seed"} | ALL_DIFFER
        assert (changed["seed"], changed["head_seed"]) == (5, 5)


def test_specialists_see_one_domain_with_its_part_of_the_batch(planned: Planned) -> None:
    plan = planned(["grpo", "single"])
    changed = differing(plan, "single/seed_0/code", "grpo/seed_0")
    assert changed.pop("evaluation")["before"] is False
    assert {key: changed[key] for key in changed.keys() - ALL_DIFFER} == {
        "domains": ["code"],
        "per_device_train_batch_size": 32,
    } | ({"mixture": "equal"} if "mixture" in changed else {})
    assert [task.domain for task in plan.of("single", 0)] == ["math", "code", "logic"]
    assert sum(task.steps * task.rollouts_per_step for task in plan.of("single", 0)) == 60 * 96
    whole = planned(["single"], budget="total").of("single", 0)
    assert [task.steps * task.rollouts_per_step for task in whole] == [60 * 96] * 3


def test_stages_go_on_from_each_other(planned: Planned) -> None:
    plan = planned(["sequential"], order=["logic", "math", "code"])
    stages = plan.of("sequential", 0)
    assert [(task.domain, task.steps) for task in stages] == [("logic", 20), ("math", 20), ("code", 20)]
    assert stages[0].recipe["model"] == "builtin:tiny" and not stages[0].needs
    for before, stage in pairwise(stages):
        assert stage.needs == (before.name,)
        assert stage.recipe["model"] == str(plan.run(before) / "model")
    with pytest.raises(ConfigError, match="--order math,code: expected each of math, code, logic once"):
        planned(["sequential"], order=["math", "code"])


def test_merging_takes_the_specialists(planned: Planned) -> None:
    plan = planned(["merge-ties"])
    assert plan.methods == ("single", "merge-ties")
    task = plan.of("merge-ties", 0)[0]
    assert task.needs == ("single/seed_0/math", "single/seed_0/code", "single/seed_0/logic")
    runs = [str(plan.path / "runs" / name) for name in task.needs]
    words = plan.words(task)
    assert words[:4] == ["merge", *runs] and words[words.index("--form") + 1] == "ties"


def test_the_model_of_the_start_is_evaluated_once_per_seed(planned: Planned) -> None:
    plan = planned(["mcpo", "single", "merge"], (0, 1))
    measuring = [task.name for task in plan.tasks if task.recipe.get("evaluation", {}).get("before")]
    assert measuring == ["mcpo/seed_0", "mcpo/seed_1"] == list(plan.starts.values())


def test_all_runs_of_a_seed_choose_the_same_probe_set(tmp_path: Path, recipe: Recipe, batch: Batch) -> None:
    def probes(options: ProbeOptions) -> list[Any]:
        probed = replace(recipe, probe=options)
        rows = {"math": 40, "code": 40, "logic": 40}
        plan = make_plan(tmp_path, probed, batch, rows, methods=["grpo", "mcpo", "single"], seeds=[0])
        return [task.recipe["probe"] for task in plan.tasks]

    # Left open, the run that evaluates the start would choose from that evaluation, and the others draw their own.
    assert [probe["problems"] for probe in probes(ProbeOptions())] == [recipe.eval_problems] * 5
    assert [probe["problems"] for probe in probes(ProbeOptions(completions="base.json"))] == [None] * 5


def test_a_domain_is_no_path(tmp_path: Path, recipe: Recipe, batch: Batch) -> None:
    plan = make_plan(tmp_path, recipe, batch, {"a/b": 4, "..": 4, "c": 4}, methods=["single"], seeds=[0])
    assert [task.name for task in plan.tasks] == ["single/seed_0/a%2Fb", "single/seed_0/%2E%2E", "single/seed_0/c"]


def test_recipes_on_disk_are_those_of_the_plan(planned: Planned) -> None:
    plan = planned(["grpo", "single", "merge"])
    plan.write()
    written = sorted(path.relative_to(plan.path / "recipes") for path in (plan.path / "recipes").rglob("*.yaml"))
    assert [str(path.with_suffix("")) for path in written] == sorted(t.name for t in plan.tasks if t.kind == "train")
    for task in plan.tasks:
        if task.kind == "train":
            assert load_recipe(plan.recipe_file(task)).to_mapping() == {
                **task.recipe,
                "domains": task.recipe.get("domains"),
            }
            assert plan.words(task) == ["train", str(plan.recipe_file(task)), "--resume", "--quiet"]


def test_a_comparison_goes_on_and_grows(planned: Planned, tmp_path: Path) -> None:
    first = planned(["mcpo"], (1,))
    first.write()
    earlier = read_plan(first.path)
    assert earlier is not None
    assert earlier.as_recipe(first.path).to_mapping().items() >= first.recipe.items()
    grown = planned(["grpo", "single"], (0, 1), earlier=earlier)
    assert grown.methods == ("grpo", "mcpo", "single") and grown.seeds == (0, 1)
    # The run that measured the start stays that of before: its recipe is on disk.
    assert grown.starts == {0: "grpo/seed_0", 1: "mcpo/seed_1"}
    before = first.of("mcpo", 1)[0]
    assert grown.of("mcpo", 1)[0] == before
    with pytest.raises(RunError, match="holds another comparison: `budget` was 'per-domain', now 'total'"):
        planned(["grpo"], budget="total", earlier=earlier)
    assert read_plan(tmp_path) is None
    (tmp_path / "comparison.yaml").write_text("methods: [grpo]\n")
    with pytest.raises(RunError, match="is not the plan of a comparison"):
        read_plan(tmp_path)


def seeds_of(plan: Plan) -> dict[str, tuple[int, ...]]:
    return {name: plan.seeds_of(name) for name in plan.methods}


def test_methods_have_their_own_seeds(planned: Planned) -> None:
    def grown(methods: list[str], seeds: list[int]) -> Plan:
        plan = planned(methods, seeds, earlier=read_plan(first.path))
        plan.write()
        return plan

    first = planned(["grpo", "mcpo"], range(4))
    first.write()
    assert "own_seeds" not in yaml.safe_load((first.path / "comparison.yaml").read_text())
    plan = grown(["pcgrad"], [0, 1])
    assert seeds_of(plan) == {"grpo": tuple(range(4)), "mcpo": tuple(range(4)), "pcgrad": (0, 1)}
    assert plan.seeds == tuple(range(4)) and len(plan.tasks) == 4 + 4 + 2
    assert plan.of("pcgrad", 1) and not plan.of("pcgrad", 2)
    # Nothing named: what is planned. A method that is planned keeps its seeds, a new one takes all.
    assert seeds_of(grown([], [])) == seeds_of(plan) == seeds_of(grown(["pcgrad"], []))
    assert seeds_of(grown(["mcpo-cosine"], []))["mcpo-cosine"] == tuple(range(4))
    # Seeds for a method beyond those of the others, which do not follow.
    more = grown(["pcgrad"], [9])
    assert seeds_of(more)["pcgrad"] == (0, 1, 9) and seeds_of(more)["grpo"] == tuple(range(4))
    assert more.starts[9] == "pcgrad/seed_9" and more.seeds == (*range(4), 9)
    # Specialists are run at the seeds of what is made from them.
    merged = grown(["merge"], [3])
    assert seeds_of(merged)["merge"] == (3,) == seeds_of(merged)["single"]
    ties = planned(["merge-ties"], [], earlier=read_plan(first.path))
    assert seeds_of(ties)["merge-ties"] == ties.seeds == seeds_of(ties)["single"], "also where `single` had fewer"
    # Seeds alone: every method gets them.
    every = seeds_of(grown([], [9, 10]))
    assert every["pcgrad"] == (0, 1, 9, 10) and every["single"] == (3, 9, 10) and every["grpo"][-2:] == (9, 10)


@pytest.mark.parametrize("key", ["max_steps", "per_device_train_batch_size", "learning_rate"])
def test_what_would_make_runs_unequal_is_refused(planned: Planned, recipe: Recipe, batch: Batch, key: str) -> None:
    first = planned(["mcpo"])
    first.write()
    other = replace(recipe, training=recipe.training | {key: 7})
    with pytest.raises(RunError, match=rf"`recipe\.{key}` was .*, now 7"):
        make_plan(
            first.path,
            other,
            batch,
            {"math": 8, "code": 8, "logic": 8},
            methods=[],
            seeds=[],
            earlier=read_plan(first.path),
        )


@pytest.mark.parametrize(
    ("changes", "arguments", "told"),
    [
        ({"training": {"max_steps": -1}}, {}, "`max_steps` is -1: .*same number of optimizer steps"),
        ({"eval_problems": []}, {}, "`eval_problems` is empty"),
        ({"domains": ["math"]}, {}, "`domains` is set"),
        ({"training": {"max_steps": 3, "hub_token": "x"}}, {}, "`hub_token` is set"),
        ({}, {"seeds": [1, 1]}, "the seeds are 1, 1"),
        ({}, {"seeds": []}, "the seeds are none"),
        ({}, {"seeds": [-1]}, "the seeds are -1"),
        ({}, {"budget": "free"}, "the budget is 'free'; expected one of per-domain, total"),
        ({}, {"rows": {"math": 4}}, "needs two; this recipe has math"),
        ({"peft": {"r": 4}}, {"methods": ["sequential"]}, "`sequential` cannot go on from a LoRA"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, recipe: Recipe, batch: Batch, changes: dict[str, Any], arguments: dict[str, Any], told: str
) -> None:
    asked = {"methods": ["grpo"], "seeds": [0], **arguments}
    rows = asked.pop("rows", {"math": 4, "code": 4})
    with pytest.raises(ConfigError, match=told):
        make_plan(tmp_path, replace(recipe, **changes), batch, rows, **asked)


def test_what_is_not_equal_is_said(tmp_path: Path, recipe: Recipe, batch: Batch) -> None:
    def remarks(mixture: Any, rows: dict[str, int], **arguments: Any) -> str:
        other = replace(recipe, training=recipe.training | {"mixture": mixture})
        asked = {"methods": ["grpo", "single"], "seeds": [0], **arguments}
        return " ".join(make_plan(tmp_path, other, batch, rows, **asked).remarks)

    even = {"math": 40, "code": 40, "logic": 40}
    assert remarks("equal", even) == ""
    assert "not in the same order" in remarks({"resample": 2}, even, methods=["grpo", "mcpo"])
    assert "shares of the domains change" in remarks({"curriculum": "worst_domain"}, even)
    assert "an order of their own" in remarks(None, even)
    assert remarks(None, even, methods=["grpo", "mcpo"]) == ""
    odd = remarks("proportional", {"math": 41, "code": 40, "logic": 40})
    assert "cannot be cut to the share of math, code, logic" in odd and "math 20, code 20, logic 20 of 60" in odd


def test_yaml_of_the_plan_says_what_was_asked(planned: Planned) -> None:
    plan = planned(["grpo"], (4,), budget="total")
    plan.write()
    facts = yaml.safe_load((plan.path / "comparison.yaml").read_text())
    assert facts["methods"] == ["grpo"] and facts["seeds"] == [4] and facts["budget"] == "total"
    assert facts["recipe"]["max_steps"] == 60
