"""The recipes of the study: what they promise of their problems, and the commands that use them."""

from __future__ import annotations

import math
import typing

import pytest

from mcpo_rl.config import check_fields, load_recipe
from mcpo_rl.data import load_problems
from mcpo_rl.trainers.trl import MCPOConfig
from study.plan import HERE, PARTS, SETTINGS, room

RECIPES = ("testbed", "smollm2")
ROOM = room()[0]


@pytest.mark.parametrize("name", RECIPES)
def test_the_trainer_knows_every_key(name: str) -> None:
    check_fields(load_recipe(str(HERE / f"{name}.yaml")).training, typing.get_type_hints(MCPOConfig))


@pytest.mark.parametrize("name", RECIPES)
def test_no_problem_is_drawn_twice(name: str) -> None:
    recipe = load_recipe(str(HERE / f"{name}.yaml"))
    training = recipe.training
    batch = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    prompts, rest = divmod(batch, training["num_generations"])
    assert rest == 0
    per_domain, rest = divmod(prompts, len(recipe.problems))
    assert rest == 0
    assert training["max_steps"] * per_domain <= min(entry["count"] for entry in recipe.problems)


@pytest.mark.parametrize("name", RECIPES)
def test_training_and_evaluation_share_no_question(name: str) -> None:
    recipe = load_recipe(str(HERE / f"{name}.yaml"))
    train, heldout = (
        {problem.prompt[-1]["content"] for entry in entries for problem in load_problems(entry)}
        for entries in (recipe.problems, recipe.eval_problems)
    )
    assert not train & heldout
    assert len(train) == sum(entry["count"] for entry in recipe.problems), "every question is asked once"


def test_every_part_starts_from_a_base_model() -> None:
    for part in PARTS.values():
        for comparison in part():
            assert comparison.recipe.is_file()
            assert comparison.base in {*SETTINGS, "smollm2"}


def test_what_is_changed_for_room() -> None:
    recipe = load_recipe(ROOM.recipe, [word for key, value in ROOM.changes.items() for word in (f"--{key}", value)])
    training = recipe.training
    weights = training["mixture"]["weights"]
    assert sum(weights.values()) == pytest.approx(1)
    assert recipe.evaluation.temperature == training["temperature"] > 1, "the same in evaluation and in training"
    prompts = training["max_steps"] * training["per_device_train_batch_size"] // training["num_generations"]
    for entry in recipe.problems:
        assert math.ceil(prompts * weights[entry["domain"]]) + 1 <= entry["count"], "no problem is drawn twice"
        assert len(load_problems(entry)) == entry["count"]
