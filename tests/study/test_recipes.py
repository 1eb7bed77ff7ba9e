"""The recipes of the study: what they promise of their problems, and the commands that use them."""

from __future__ import annotations

import typing

import pytest

from mcpo_rl.config import check_fields, load_recipe
from mcpo_rl.data import load_problems
from mcpo_rl.trainers.trl import MCPOConfig
from study.plan import HERE, PARTS, SETTINGS

RECIPES = ("testbed", "smollm2")


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
