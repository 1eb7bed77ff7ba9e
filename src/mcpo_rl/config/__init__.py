"""Recipes: one flat YAML file says what a run is, and `--key value` changes one thing of it.

This package knows no engine. It reads the file, applies the overrides and checks its own keys; the trainer's keys
wait in `Recipe.training` until the layer that knows the trainer's class checks them with `check_fields`.
"""

from mcpo_rl.config.fields import check_fields
from mcpo_rl.config.overrides import parse_overrides, parse_yaml
from mcpo_rl.config.recipe import (
    RECIPES,
    EvaluationOptions,
    ProbeOptions,
    Recipe,
    load_recipe,
    recipe_file,
    recipe_from_mapping,
    shipped_recipes,
)

__all__ = [
    "RECIPES",
    "EvaluationOptions",
    "ProbeOptions",
    "Recipe",
    "check_fields",
    "load_recipe",
    "parse_overrides",
    "parse_yaml",
    "recipe_file",
    "recipe_from_mapping",
    "shipped_recipes",
]
