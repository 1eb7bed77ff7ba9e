"""From a recipe to the trainer's configuration: names, types and combinations checked before anything is loaded."""

from __future__ import annotations

import importlib.util
import os
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import str_to_bool

from mcpo_rl.config import Recipe, check_fields
from mcpo_rl.errors import ConfigError, MCPOError, MissingDependencyError
from mcpo_rl.models.lora import lora_config_file
from mcpo_rl.trainers.trl import MCPOConfig
from mcpo_rl.trainers.trl.running.trackers import check_trackers
from mcpo_rl.trainers.trl.surgery import PCGradConfig


def training_config(recipe: Recipe, output_dir: Path) -> MCPOConfig:
    """Return the trainer's configuration, names and types checked.

    Raises:
        ConfigError: An unknown field (with the nearest valid one), a wrong type, or a combination that cannot work.
        MissingDependencyError: `use_vllm: true` without vLLM, a tracker in `report_to` that is not installed.
    """
    configuration = configuration_of(recipe)
    hints = typing.get_type_hints(configuration)
    # `output_dir` and `seed` are keys of the recipe itself.
    own = {name for name in Recipe.__dataclass_fields__ if name != "training"}
    check_fields(
        recipe.training,
        {name: hint for name, hint in hints.items() if name in configuration.__dataclass_fields__ or name in own},
    )
    values: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": recipe.seed,
        "disable_tqdm": True,
        **recipe.training,
    }
    if recipe.method in ("grpo", "pcgrad"):
        # Over any value in the recipe: a baseline is asked for by `--method grpo` alone.
        values["contrastive_coef"] = 0.0
    if "bf16" not in values and "fp16" not in values and not _has_bf16():
        # TRL's default is bf16, which it refuses on a machine without such a GPU.
        values["bf16"] = False
    if not torch.accelerator.is_available():
        values.setdefault("dataloader_pin_memory", False)  # there is no device to pin it for; torch would warn each run
    if values.get("use_vllm") and importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(
            "`use_vllm: true` needs vLLM: pip install 'mcpo-rl[vllm]', or set `--use_vllm false`."
        )
    _join_ranks(values)
    try:
        config = configuration(**values)
    except MCPOError:
        raise
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"the trainer refuses this configuration: {error}") from error
    check_trackers(config.report_to)
    return config


def configuration_of(recipe: Recipe) -> type[MCPOConfig]:
    """Return the class whose fields the recipe's trainer settings are."""
    return PCGradConfig if recipe.method == "pcgrad" else MCPOConfig


def _join_ranks(values: dict[str, Any]) -> None:
    """Start the process group, with `ddp_timeout`, where the ranks are on CPUs.

    transformers looks for several ranks on a CPU only where it is told to use one: on a machine without a GPU each
    rank would train by itself. And it passes the time-out on for every device but the CPU, where ranks would wait half
    an hour for one that hangs, whatever was asked for.

    Raises:
        ConfigError: a time-out that no rank could meet.
    """
    timeout: int = {"ddp_timeout": MCPOConfig.ddp_timeout, **values}["ddp_timeout"]
    if timeout <= 0:
        raise ConfigError(f"ddp_timeout is {timeout}; expected seconds > 0 (1800 is usual).")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if not torch.accelerator.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    on_cpu = values.get("use_cpu", False) or str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false"))
    if on_cpu:
        PartialState(cpu=True, timeout=timedelta(seconds=timeout))


def lora_config(arguments: dict[str, Any] | None) -> Any:
    """Return `peft.LoraConfig(**arguments)`, or None for None.

    Raises:
        ConfigError: An argument that `LoraConfig` does not have or refuses.
        MissingDependencyError: PEFT is not installed.
    """
    if arguments is None:
        return None
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError("`peft` in the recipe needs PEFT: pip install 'mcpo-rl[peft]'.")
    from peft import LoraConfig

    check_fields(arguments, dict.fromkeys(LoraConfig.__dataclass_fields__, Any), prefix="peft.")
    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **arguments})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"`peft`: LoraConfig refuses it: {error}") from error


def check_lora_base(recipe: Recipe) -> None:
    """Refuse to train a LoRA on a LoRA: it would be saved with the first one's base as its own.

    Raises:
        ConfigError: With what to do instead.
    """
    if recipe.peft is not None and lora_config_file(recipe.model) is not None:
        raise ConfigError(
            f"`peft` trains a LoRA on {recipe.model}, which is a LoRA itself: the new one would name that one's base "
            "as its own. Merge it into its base first and name the result, or leave `peft` out."
        )


def _has_bf16() -> bool:
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())
