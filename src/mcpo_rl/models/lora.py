"""LoRA: weights that were saved as an addition to a base model, read as the whole model that they make."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def lora_config_file(name: str) -> Path | None:
    """Return the `adapter_config.json` of a saved LoRA, or None where `name` is no LoRA.

    Args:
        name: A directory, or a hub id.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        own = path / CONFIG
        return own if own.is_file() and not (path / "config.json").is_file() else None
    if _HUB_ID.fullmatch(name) is None or importlib.util.find_spec("peft") is None:
        return None
    from transformers.utils import find_adapter_config_file

    try:
        found = find_adapter_config_file(name)
    except OSError:  # no such repository, or no way to it: whoever loads the model says so
        return None
    return Path(found) if found else None


def base_of_lora(file: Path) -> str:
    """Return the name of the base model that a LoRA was trained on.

    Raises:
        ModelError: Its `adapter_config.json` does not say.
    """
    try:
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{file} cannot be read as the configuration of a LoRA ({error}).") from error
    if not base:
        raise ModelError(f"{file} does not say which base model the LoRA belongs to; name it.")
    return str(base)


def merged(base: PreTrainedModel, name: str) -> PreTrainedModel:
    """Return `base` with the LoRA `name` merged into its weights; `base` itself is changed.

    Raises:
        MissingDependencyError: peft is not installed.
        ModelError: The LoRA does not fit the base model, or cannot be read.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError(f"{name} is a LoRA, which needs the package peft: `pip install 'mcpo-rl[peft]'`.")
    from peft import PeftModel

    try:
        model: Any = PeftModel.from_pretrained(base, name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"the LoRA {name} could not be put on the base model {base.name_or_path}: {reason}") from error
    whole: PreTrainedModel = model.merge_and_unload()
    return whole
