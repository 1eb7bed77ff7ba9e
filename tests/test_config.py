"""Recipes: reading, overrides, and the message for each mistake."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from mcpo_rl.config import (
    Recipe,
    check_fields,
    load_recipe,
    parse_overrides,
    parse_yaml,
    recipe_from_mapping,
    shipped_recipes,
)
from mcpo_rl.errors import ConfigError

MINIMAL = """
model: builtin:tiny
output_dir: runs/x
problems:
  - {source: procedural, domain: math, count: 10}
  - {path: rows.jsonl, domain: code}
learning_rate: 1e-4
save_strategy: no
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(MINIMAL)
    return path


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe_from_mapping(content)
    return str(caught.value)


def complete(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "output_dir": "o", "problems": [{"path": "rows.jsonl"}], **changes}


def test_own_keys_and_the_trainers_are_told_apart(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert recipe.method == "mcpo"
    assert recipe.problems[0] == {"source": "procedural", "domain": "math", "count": 10}
    assert recipe.training == {"learning_rate": 1e-4, "save_strategy": "no"}


def test_overrides_reach_everything(recipe_file: Path) -> None:
    words = ["--max-steps", "20", "--learning_rate=3e-5", "--problems.0.count", "7", "--peft.r", "8"]
    words += [
        "--peft.target_modules",
        "[q_proj, v_proj]",
        "--evaluation.samples=4",
        "--seed",
        "-1",
        "--report_to",
        "none",
    ]
    recipe = load_recipe(recipe_file, words)
    assert recipe.training["max_steps"] == 20
    assert recipe.training["learning_rate"] == 3e-5
    assert recipe.training["report_to"] == "none"
    assert recipe.problems[0]["count"] == 7
    assert recipe.peft == {"r": 8, "target_modules": ["q_proj", "v_proj"]}
    assert recipe.evaluation.samples == 4
    assert recipe.seed == -1


def test_overrides_as_a_mapping(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, {"problems.1.domain": "logic", "method": "grpo"})
    assert recipe.problems[1]["domain"] == "logic"
    assert recipe.method == "grpo"


def test_a_recipe_survives_its_own_file_form(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["--evaluation.samples", "3"])
    assert recipe_from_mapping(recipe.to_mapping()) == recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("-2E3", -2000.0),
        (".5", 0.5),
        ("12", 12),
        ("-1", -1),
        ("012", "012"),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("none", "none"),
        ("null", None),
        ("~", None),
        (".inf", float("inf")),
        ("1e", "1e"),
        ("'1e-4'", "1e-4"),
        ("[1, a]", [1, "a"]),
        ("{a: 1e3}", {"a": 1000.0}),
        ("2026-01-01", "2026-01-01"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: Any) -> None:
    result = parse_yaml(text, where="x")
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["max_steps", "3"], "cannot read `max_steps`"),
        (["--max_steps"], "`--max_steps` has no value"),
        (["--max_steps", "--seed", "1"], "`--max_steps` has no value"),
        (["--peft", "{r: 8"], "not valid YAML"),
        (["--"], "cannot read `--`"),
    ],
)
def test_overrides_that_cannot_be_read(words: list[str], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_overrides(words)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--problems.5.count", "1"], "`5` is no position in a list of 2"),
        (["--problems.first.count", "1"], "`first` is no position"),
        (["--model.name", "x"], "`model` is the text 'builtin:tiny', it has no parts"),
        (["--seed", "one"], "`seed` is the text 'one'; expected a whole number"),
        (["--method", "ppo"], "`method` is the text 'ppo'; expected one of `mcpo`, `grpo`"),
        (["--evaluation.sample", "2"], "unknown key `evaluation.sample`. Did you mean `samples`?"),
        (["--evaluation.samples", "0"], "`evaluation.samples` is 0; it must be at least 1"),
        (["--evaluation", "3"], "`evaluation` is the number 3; expected a mapping"),
        (["--peft", "lora"], "`peft` is the text 'lora'; expected a mapping or null"),
    ],
)
def test_overrides_that_cannot_be_applied(recipe_file: Path, words: list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe_file, words)
    assert part in str(caught.value)


def test_messages_name_the_file(recipe_file: Path) -> None:
    recipe_file.write_text(MINIMAL + "seed: soon\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: `seed`"):
        load_recipe(recipe_file)


@pytest.mark.parametrize("missing", ["model", "problems", "output_dir"])
def test_required_keys(missing: str) -> None:
    content = complete()
    del content[missing]
    assert f"`{missing}` is missing" in refusal(content)
    assert f"`{missing}` is missing" in refusal(complete(**{missing: None}))


def test_problem_entries() -> None:
    assert "`problems` is empty" in refusal(complete(problems=[]))
    assert "`problems.0` has none of the keys" in refusal(complete(problems=[{"domain": "math"}]))
    both = refusal(complete(eval_problems=[{"path": "a"}, {"path": "a", "hub": "b"}]))
    assert "`eval_problems.1` has hub and path" in both
    assert "`problems` is the text 'rows.jsonl'" in refusal(complete(problems="rows.jsonl"))
    assert "`problems` is the list ['rows.jsonl']; expected a list (each item a mapping)" in refusal(
        complete(problems=["rows.jsonl"])
    )


def test_the_trainers_keys_stand_at_the_top() -> None:
    assert "top level" in refusal(complete(training={"max_steps": 3}))


def test_missing_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe not found: dem\. Did you mean `demo`\?"):
        load_recipe("dem")
    with pytest.raises(ConfigError, match=r"recipe not found: .*nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- a\n- b\n", "a recipe is a mapping"),
        ("", "this file holds empty"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "`a` twice"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert part in str(caught.value)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "fitting", "others"),
    [
        (int, [1, -1], [1.0, "1", True, None, [1]]),
        (float, [1, 1.5], ["1", True, None]),
        (bool, [True, False], [1, 0, "true", None]),
        (str, ["", "a"], [1, None, ["a"]]),
        (str | None, ["a", None], [1]),
        (list[str], [[], ["a"]], ["a", [1], None]),
        (list[str] | str, ["a", ["a"]], [[1], 1]),
        (dict[str, Any] | None, [{}, None], [[], "a"]),
        (Literal["a", 1], ["a", 1], ["b", True, None]),
        (Colour | str, ["red", "other"], [1]),
        (Colour, ["red", Colour.RED], ["blue", 1]),
        (Any, [1, "a", None], []),
    ],
)
def test_types(annotation: Any, fitting: list[Any], others: list[Any]) -> None:
    for value in fitting:
        check_fields({"x": value}, {"x": annotation})
    for value in others:
        with pytest.raises(ConfigError, match="`x` is"):
            check_fields({"x": value}, {"x": annotation})


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key `learning_rat`\. Did you mean `learning_rate`\?"):
        check_fields({"learning_rat": 1}, {"learning_rate": float})


def test_a_recipe_cannot_be_changed() -> None:
    recipe = recipe_from_mapping(complete())
    assert isinstance(recipe, Recipe)
    with pytest.raises(AttributeError):
        recipe.model = "other"  # type: ignore[misc]


def test_shipped_recipes_are_found_by_name() -> None:
    assert {"demo", "qwen3-4b-math-code-logic"} <= shipped_recipes().keys()
    assert load_recipe("demo").model == "builtin:tiny"
