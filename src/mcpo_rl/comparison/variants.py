"""Methods that a user defines beside the built-in ones: a built-in method with other keys of the recipe.

    layer-1:  {feature_layer: 1}
    strong:   {label: "MCPO, strong", contrastive_grad_ratio: 0.6}
    plain-lr: {base: grpo, learning_rate: 1.0e-4}

A variant may change how is trained, and nothing that the methods of a comparison have in common.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcpo_rl.comparison.methods import METHODS, Method
from mcpo_rl.config import parse_yaml
from mcpo_rl.config.fields import describe
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.runs.manifest import is_secret

Variants = Mapping[str, Mapping[str, Any]]
"""Name to definition, as it stands in a file."""

BASES = tuple(name for name, method in METHODS.items() if method.kind == "mixed")
"""What a variant can build on: methods that are one run on the mixture."""

_IN_COMMON = "all methods of a comparison have it in common. Set it in the recipe"
_BUDGET = "it would change the budget, which is equal for all methods. Set it in the recipe"
_OURS = "the comparison sets it. Leave it out"
_REFUSED = {
    "method": f"say with `base` which method it builds on ({', '.join(BASES)})",
    **dict.fromkeys(("seed", "output_dir", "domains", "run_name"), _OURS),
    **dict.fromkeys(("model", "problems", "eval_problems", "evaluation", "probe", "sandbox"), _IN_COMMON),
    **dict.fromkeys(("mixture", "data_seed", "shuffle_dataset", "correct_threshold"), _IN_COMMON),
    **dict.fromkeys(("max_steps", "num_train_epochs", "num_generations", "num_iterations"), _BUDGET),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), _BUDGET),
    **dict.fromkeys(("generation_batch_size", "steps_per_generation", "max_completion_length"), _BUDGET),
}
"""Keys of a recipe that a variant cannot change, each with why."""

_OWN = ("about", "label", "base")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def read_variants(file: Path) -> dict[str, dict[str, Any]]:
    """Return the variants that a YAML file defines, by name.

    Raises:
        ConfigError: There is no such file, it is no mapping, or a definition that cannot be; the message names it.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--variants {file}: cannot be read ({error}). Give a YAML file.") from error
    content = parse_yaml(text, where=str(file))
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"{file} holds {describe(content)}; expected names of variants, each with keys of the recipe, e.g. "
            "`layer-1: {feature_layer: 1}`."
        )
    try:
        known_methods(content)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return content


def known_methods(variants: Variants) -> dict[str, Method]:
    """Return the built-in methods and the variants, by name, in the order of the tables.

    Raises:
        ConfigError: A variant that cannot be: the message names it and says what to change.

    Example:
        >>> known_methods({"layer-1": {"feature_layer": 1}})["layer-1"].changes
        {'method': 'mcpo', 'feature_layer': 1}
    """
    methods = dict(METHODS)
    names = {method.label: name for name, method in METHODS.items()}
    for name, definition in variants.items():
        method = _variant(name, definition)
        if (other := names.setdefault(method.label, name)) != name:
            raise ConfigError(f"variant `{name}` has the label {method.label!r} of `{other}`; give it another `label`.")
        methods[name] = method
    return methods


def essence(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a variant's definition decides how it is trained: all but its label and what is said about it."""
    changes = {key: value for key, value in definition.items() if key not in _OWN}
    return {"base": definition.get("base", "mcpo"), **changes}


def _variant(name: Any, definition: Any) -> Method:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"a variant's name is {describe(name)}; expected letters, digits, `-`, `_` and `.`, the first a letter or "
            "digit."
        )
    if name in METHODS:
        raise ConfigError(f"variant `{name}` has the name of a built-in method; give it another name.")
    if not isinstance(definition, Mapping):
        raise ConfigError(
            f"variant `{name}` is {describe(definition)}; expected keys of the recipe, e.g. `{{feature_layer: 1}}`."
        )
    for key in ("about", "label"):
        text = definition.get(key, "-")
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise ConfigError(f"variant `{name}`: `{key}` is {describe(text)}; expected one line of text.")
    base = definition.get("base", "mcpo")
    if base not in BASES:
        raise ConfigError(
            f"variant `{name}`: `base` is {describe(base)}; expected one of {', '.join(BASES)}."
            f"{nearest(str(base), BASES)}"
        )
    changes = {key: value for key, value in definition.items() if key not in _OWN}
    for key in changes:
        if key in _REFUSED:
            raise ConfigError(f"variant `{name}` sets `{key}`: {_REFUSED[key]}.")
        if is_secret(str(key)):
            raise ConfigError(f"variant `{name}` sets `{key}`, and recipes are written to disk. Leave it out.")
    said = ", ".join(f"{key} {value}" for key, value in changes.items())
    return Method(
        label=definition.get("label", name),
        about=definition.get("about", f"{base} with {said}" if said else f"{base} as it is"),
        changes={**METHODS[base].changes, **changes},
    )
