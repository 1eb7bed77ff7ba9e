"""Methods that a user defines: what they are trained as, what is refused, and how they stay with a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcpo_rl.comparison.methods import METHODS
from mcpo_rl.comparison.plan import Plan, read_plan
from mcpo_rl.comparison.result import collect
from mcpo_rl.comparison.table import latex, markdown
from mcpo_rl.comparison.variants import known_methods, read_variants
from mcpo_rl.errors import ConfigError, RunError
from mcpo_rl.runs import RunDirectory

Planned = Callable[..., Plan]
Finish = Callable[..., RunDirectory]

MINE: dict[str, dict[str, Any]] = {
    "layer-1": {"feature_layer": 1},
    "strong": {"label": "MCPO, strong", "about": "more of it", "contrastive_grad_ratio": 0.6},
    "plain-lr": {"base": "grpo", "learning_rate": 1e-4},
    "no-share-hot": {"base": "mcpo-no-share", "contrastive_temperature": 0.5},
}


def test_a_variant_is_its_base_with_its_keys() -> None:
    methods = known_methods(MINE)
    assert list(methods) == [*METHODS, *MINE]
    assert methods["layer-1"].changes == {"method": "mcpo", "feature_layer": 1}
    assert methods["plain-lr"].changes == {"method": "grpo", "learning_rate": 1e-4}
    assert methods["no-share-hot"].changes == {"method": "mcpo", "share_weight": 0.0, "contrastive_temperature": 0.5}
    assert (methods["strong"].label, methods["strong"].about) == ("MCPO, strong", "more of it")
    assert (methods["layer-1"].label, methods["layer-1"].about) == ("layer-1", "mcpo with feature_layer 1")
    assert all(methods[name].kind == "mixed" for name in MINE)


def test_its_runs_differ_in_its_keys_alone(planned: Planned) -> None:
    plan = planned(["mcpo", "strong", "plain-lr"], (0, 1), variants=MINE)
    assert plan.methods == ("mcpo", "strong", "plain-lr"), "what is only defined is not run"
    base, strong, plain = (plan.of(name, 1)[0].recipe for name in plan.methods)
    places = {"output_dir", "run_name", "evaluation"}
    assert {key for key in base | strong if base.get(key) != strong.get(key)} == places | {"contrastive_grad_ratio"}
    assert {key for key in base | plain if base.get(key) != plain.get(key)} == places | {"method", "learning_rate"}
    assert strong["evaluation"] == {**base["evaluation"], "before": False}
    assert plan.of("strong", 1)[0].name == "strong/seed_1" and strong["seed"] == 1 == strong["head_seed"]
    fixed = planned(["fixed"], (1,), variants={"fixed": {"head_seed": 7}})
    assert fixed.tasks[0].recipe["head_seed"] == 7


@pytest.mark.parametrize(
    ("name", "definition", "told"),
    [
        ("grpo", {}, "has the name of a built-in method"),
        ("a/b", {}, "name is the text 'a/b'; expected letters"),
        ("..", {}, "name is the text '..'"),
        (3, {}, "name is the number 3"),
        ("x", None, "variant `x` is empty"),
        ("x", ["feature_layer"], "variant `x` is the list"),
        ("x", {"base": "single"}, "`base` is the text 'single'; expected one of grpo, mcpo"),
        ("x", {"base": "mpco"}, "Did you mean `mcpo`"),
        ("x", {"base": ["mcpo"]}, "`base` is the list"),
        ("x", {"method": "grpo"}, "sets `method`: say with `base`"),
        ("x", {"seed": 3}, "sets `seed`: the comparison sets it"),
        ("x", {"output_dir": "y"}, "sets `output_dir`: the comparison sets it"),
        ("x", {"domains": ["math"]}, "sets `domains`: the comparison sets it"),
        ("x", {"max_steps": 3}, "sets `max_steps`: it would change the budget"),
        ("x", {"per_device_train_batch_size": 3}, "it would change the budget"),
        ("x", {"num_generations": 3}, "it would change the budget"),
        ("x", {"mixture": "equal"}, "sets `mixture`: all methods of a comparison have it in common"),
        ("x", {"eval_problems": []}, "sets `eval_problems`: all methods of a comparison have it in common"),
        ("x", {"hub_token": "t"}, "sets `hub_token`, and recipes are written to disk"),
        ("x", {"label": "GRPO"}, "has the label 'GRPO' of `grpo`"),
        ("x", {"label": "two\nlines"}, "`label` is the text"),
        ("x", {"about": 3}, "`about` is the number 3"),
    ],
)
def test_what_cannot_be_a_variant(name: Any, definition: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        known_methods({name: definition})
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_two_variants_with_one_label() -> None:
    with pytest.raises(ConfigError, match="variant `b` has the label 'same' of `a`"):
        known_methods({"a": {"label": "same"}, "b": {"label": "same"}})


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("plain-lr: {base: grpo, learning_rate: 1e-4}\n")
    assert read_variants(file) == {"plain-lr": {"base": "grpo", "learning_rate": 1e-4}}
    for content, told in [
        ("- a", "holds the list"),
        ("", "holds empty"),
        ("a: {", "not valid YAML"),
        ("a: {}\na: {}", "`a` twice"),
        ("grpo: {}", "mine.yaml: variant `grpo` has the name"),
    ]:
        file.write_text(content)
        with pytest.raises(ConfigError, match=told):
            read_variants(file)
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_variants(tmp_path / "none.yaml")


def test_they_stay_with_the_comparison(planned: Planned) -> None:
    first = planned(["grpo", "layer-1"], variants={name: MINE[name] for name in ("layer-1", "strong")})
    first.write()
    earlier = read_plan(first.path)
    again = planned([], [], earlier=earlier)
    assert again.methods == ("grpo", "layer-1") and again.tasks == first.tasks and again.variants == first.variants
    more = planned(["plain-lr", "strong"], [], earlier=earlier, variants={"plain-lr": MINE["plain-lr"]})
    assert more.methods == ("grpo", "layer-1", "strong", "plain-lr")
    assert planned([], [], earlier=earlier, variants={"layer-1": {"feature_layer": 1, "base": "mcpo", "label": "L1"}})
    # One that has runs is what it is; one that was only defined may still change.
    with pytest.raises(RunError, match=r"`variants\.layer-1\.feature_layer` was 1, now 2"):
        planned([], [], earlier=earlier, variants={"layer-1": {"feature_layer": 2}})
    with pytest.raises(RunError, match=r"`variants\.layer-1\.base` was 'mcpo', now 'grpo'"):
        planned([], [], earlier=earlier, variants={"layer-1": {"feature_layer": 1, "base": "grpo"}})
    assert planned([], [], earlier=earlier, variants={"strong": {"contrastive_grad_ratio": 0.7}})
    for text in ("3", "[]", "{layer-1: 3}"):
        facts = yaml.safe_load((first.path / "comparison.yaml").read_text()) | {"variants": yaml.safe_load(text)}
        (first.path / "comparison.yaml").write_text(yaml.safe_dump(facts))
        with pytest.raises((ConfigError, RunError)):
            planned([], [], earlier=read_plan(first.path))


def test_they_are_shown_under_their_labels(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "strong"], variants=MINE)
    for task in plan.tasks:
        finish(plan, task, {"math": [1.0], "code": [1.0], "logic": [0.5]})
    result = collect(plan, reference="strong")
    assert "| MCPO, strong |" in markdown(result) and "minus MCPO, strong" in markdown(result)
    assert "\nMCPO, strong & " in latex(result)
    grpo, strong = json.loads(json.dumps(result.to_json()))["rows"]
    assert (strong["method"], strong["label"], strong["about"]) == ("strong", "MCPO, strong", "more of it")
    assert strong["variant"] == MINE["strong"] and grpo["variant"] is None
