"""Every shipped recipe: valid against the installed classes, without vLLM, PEFT weights or a GPU."""

from __future__ import annotations

import typing
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig

from mcpo_rl.cli.trainer_config import training_config
from mcpo_rl.config import Recipe, check_fields, load_recipe, shipped_recipes
from mcpo_rl.config.recipe import RECIPES
from mcpo_rl.domains import DOMAINS
from mcpo_rl.trainers.trl import MCPOConfig

ROOT = Path(__file__).parents[1]
GPU_ONLY = {"bf16": False, "use_vllm": False, "vllm_enable_sleep_mode": False}
"""What a machine without GPU and vLLM refuses; everything else is used as the recipe has it."""


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_names_and_types(name: str) -> None:
    recipe = load_recipe(name)
    check_fields(recipe.training, typing.get_type_hints(MCPOConfig))
    assert not {field.name for field in fields(Recipe)} & recipe.training.keys()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_the_trainer_takes_it(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    given = {key: value for key, value in GPU_ONLY.items() if key in recipe.training}
    config = training_config(load_recipe(name, given), tmp_path)
    for key, value in recipe.training.items():
        if key not in GPU_ONLY and key != "report_to":  # transformers turns the word into a list
            assert getattr(config, key) == value, key
    assert config.seed == recipe.seed
    assert config.contrastive_enabled


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_problems(name: str) -> None:
    recipe = load_recipe(name)
    for entry in [*recipe.problems, *recipe.eval_problems]:
        assert entry["domain"] in DOMAINS
    assert len({entry["domain"] for entry in recipe.problems}) >= 2
    assert {entry["domain"] for entry in recipe.eval_problems} == {entry["domain"] for entry in recipe.problems}
    # A file is its own split; the other kinds of source have to say which one they mean.
    assert {entry["split"] for entry in recipe.problems if "path" not in entry} == {"train"}
    assert {entry["split"] for entry in recipe.eval_problems if "path" not in entry} <= {"heldout", "test"}
    files = [{entry["path"] for entry in part if "path" in entry} for part in (recipe.problems, recipe.eval_problems)]
    assert files[0].isdisjoint(files[1])


def test_accelerate_configs_are_valid() -> None:
    files = sorted((RECIPES / "accelerate").glob("*.yaml"))
    assert [file.name for file in files] == ["fsdp2.yaml"]
    for file in files:
        config = ClusterConfig.from_yaml_file(str(file))  # refuses unknown keys
        assert config.distributed_type == "FSDP"
        assert config.fsdp_config["fsdp_version"] == 2
        assert yaml.safe_load(file.read_text())["num_processes"] == 8


def test_recipes_at_the_root_are_those_of_the_package() -> None:
    assert (ROOT / "recipes").resolve() == RECIPES.resolve()


def test_launch_lines_name_files_that_exist() -> None:
    text = (RECIPES / "qwen3-4b-math-code-logic.yaml").read_text()
    line = next(line for line in text.splitlines() if "accelerate launch" in line)
    for word in line.split():
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file(), word
