"""From a recipe and its launch to the plan that memory is estimated from, every key checked on the way.

Imported inside the command only: the trainer's defaults and checks are TRL's, which loads torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcpo_rl.cli.doctor_launch import Launch
from mcpo_rl.cli.sandbox_options import use_recipe_sandbox
from mcpo_rl.cli.trainer_config import lora_config, training_config
from mcpo_rl.config import Recipe
from mcpo_rl.data.sources.entries import check_entry
from mcpo_rl.errors import ConfigError
from mcpo_rl.models.activations import FLOAT32, PassPlan
from mcpo_rl.models.memory import GIB, RESERVE, Generation, PoolPlan, RunPlan
from mcpo_rl.models.shape_lookup import lora_parameters
from mcpo_rl.models.shapes import DecoderShape
from mcpo_rl.trainers.trl import MCPOConfig

PROMPT_TOKENS = 512
"""Assumed of the longest prompt where neither `--prompt-tokens` nor `vllm_max_model_length` tells it."""

_NOT_HERE: dict[str, Any] = {
    "bf16": False,
    "fp16": False,
    "tf32": None,
    "use_vllm": False,
    "vllm_enable_sleep_mode": False,
    "deepspeed": None,
    "use_cpu": True,
}
"""What the machine that asks may lack; memory is estimated from the recipe's own values."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A recipe whose keys, problems and batch sizes fit together."""

    config: MCPOConfig
    """As the trainer takes it, its batch sizes those of all ranks together on one."""
    recipe: Recipe
    domains: list[str]
    """Of the training problems; `several` for sources that tell it row by row."""

    @property
    def prompts(self) -> int:
        """Of one generation batch."""
        return int(self.config.generation_batch_size // self.config.num_generations)

    def asked(self, key: str) -> bool:
        """Whether a switch that this machine may lack is on: as the recipe has it."""
        if key == "bf16" and not self.recipe.training.get("fp16"):
            return bool(self.recipe.training.get("bf16", True))  # TRL's default
        return bool(self.recipe.training.get(key, False))


def check_recipe(recipe: Recipe, launch: Launch) -> Checked:
    """Check what can be checked without a GPU, a model or data: keys, types, sources, and sizes for the asked ranks.

    Raises:
        MCPOError: The first mistake, as `mcpo-rl train` would tell it.
    """
    for name in ("problems", "eval_problems"):
        for entry in getattr(recipe, name):
            check_entry(entry)
    use_recipe_sandbox(recipe.sandbox)
    lora_config(recipe.peft)
    given = {key: value for key, value in _NOT_HERE.items() if key in recipe.training or key in ("bf16", "use_cpu")}
    config = _config_for(replace(recipe, training=recipe.training | given), launch.ranks)
    domains = sorted({str(entry.get("domain", "several")) for entry in recipe.problems})
    checked = Checked(config=config, recipe=recipe, domains=domains)
    _check_sizes(checked, launch)
    return checked


def _config_for(recipe: Recipe, ranks: int) -> MCPOConfig:
    """Return the configuration of one process with the micro-batches of all: TRL checks the same generation batch."""
    training = dict(recipe.training)
    size = training.get("per_device_train_batch_size", 8)
    if isinstance(size, int) and not isinstance(size, bool):  # else the check of types tells it
        training["per_device_train_batch_size"] = size * ranks
    try:
        return training_config(replace(recipe, training=training), Path(recipe.output_dir))
    except ConfigError as error:
        raise ConfigError(f"on {ranks} GPUs: {error}" if ranks > 1 else str(error)) from error


def _check_sizes(checked: Checked, launch: Launch) -> None:
    config = checked.config
    if config.max_completion_length is None or config.max_completion_length < 1:
        raise ConfigError(f"max_completion_length is {config.max_completion_length}; it must be at least 1.")
    share = config.vllm_gpu_memory_utilization
    if not 0 < share <= 1:
        raise ConfigError(
            f"vllm_gpu_memory_utilization is {share:g}; it is a share of the GPU's memory, above 0 and at most 1."
        )
    if config.vllm_tensor_parallel_size < 1:
        raise ConfigError(f"vllm_tensor_parallel_size is {config.vllm_tensor_parallel_size}; it must be at least 1.")
    if checked.prompts < len(checked.domains):
        raise ConfigError(
            f"a step has {checked.prompts} prompts (per_device_train_batch_size x gradient_accumulation_steps x GPUs / "
            f"num_generations) for {len(checked.domains)} domains: each needs at least one."
        )
    if not checked.asked("use_vllm"):
        return
    parallel, longest = config.vllm_tensor_parallel_size, config.vllm_max_model_length
    if config.vllm_mode == "colocate" and launch.ranks % parallel:
        raise ConfigError(f"vllm_tensor_parallel_size is {parallel}, which does not divide {launch.ranks} GPUs.")
    if longest is not None and longest <= config.max_completion_length:
        raise ConfigError(
            f"vllm_max_model_length is {longest} and max_completion_length {config.max_completion_length}: nothing is "
            "left for the prompt."
        )


def run_plan(
    checked: Checked, launch: Launch, shape: DecoderShape, *, gpu_memory: float, prompt_tokens: int | None, cpu: bool
) -> RunPlan:
    """Return the plan of a checked recipe.

    Args:
        checked: The recipe.
        launch: Its launch.
        shape: Of its model.
        gpu_memory: Bytes of one GPU; of the machine where there is none.
        prompt_tokens: Of the longest prompt; None takes what `vllm_max_model_length` leaves, else `PROMPT_TOKENS`.
        cpu: The run is for this machine's CPU.

    Raises:
        ConfigError: vLLM would not take so long a prompt with its completion.
    """
    config, recipe = checked.config, checked.recipe
    mixed = not cpu and recipe.dtype == "float32" and (checked.asked("bf16") or checked.asked("fp16"))
    weight = FLOAT32 if recipe.dtype == "float32" else 2
    colocated = checked.asked("use_vllm") and config.vllm_mode == "colocate"
    generation: Generation = "colocate" if colocated else "server" if checked.asked("use_vllm") else "transformers"
    micro_batch = config.per_device_train_batch_size // launch.ranks
    lora = lora_parameters(shape, recipe.peft)
    return RunPlan(
        shape=shape,
        engine=launch.engine,
        ranks=launch.ranks,
        ranks_per_node=launch.ranks_per_machine,
        weight_bytes=weight,
        mixed=mixed,
        optimizer=str(getattr(config.optim, "value", config.optim)),
        lora_parameters=lora,
        reference_model=config.beta > 0 and not lora,
        passes=PassPlan(
            rows=micro_batch,
            tokens=_prompt_tokens(checked, prompt_tokens) + config.max_completion_length,
            completion=config.max_completion_length,
            compute_bytes=2 if mixed else weight,
            autocast=mixed and launch.engine in ("one", "ddp"),
            checkpointing=bool(config.gradient_checkpointing),
            trains_head=not lora,
            triton=not cpu,
        ),
        accumulation=config.gradient_accumulation_steps,
        sync_each_batch=_syncs_each_batch(config),
        offload_optimizer=launch.offload_optimizer,
        offload_parameters=launch.offload_parameters,
        rollouts_per_rank=config.generation_batch_size // launch.ranks,
        pool=_pool(config, shape) if config.contrastive_enabled else None,
        generation=generation,
        vllm_share=config.vllm_gpu_memory_utilization if colocated else 0.0,
        vllm_sleeps=colocated and checked.asked("vllm_enable_sleep_mode"),
        vllm_parallel=config.vllm_tensor_parallel_size,
        vllm_longest=config.vllm_max_model_length or (colocated and shape.max_positions) or 0,
        gpu_memory=gpu_memory,
        reserve=GIB if cpu else RESERVE,
    )


def _pool(config: MCPOConfig, shape: DecoderShape) -> PoolPlan:
    return PoolPlan(
        rollouts=config.generation_batch_size,
        head_hidden=config.head_hidden_dim or shape.hidden,
        head_dim=config.head_dim,
        block=config.contrastive_block_size,
    )


def _prompt_tokens(checked: Checked, given: int | None) -> int:
    config = checked.config
    if given is not None:
        longest, both = config.vllm_max_model_length, given + config.max_completion_length
        if checked.asked("use_vllm") and longest is not None and both > longest:
            raise ConfigError(
                f"--prompt-tokens {given} and max_completion_length {config.max_completion_length} are {both} tokens, "
                f"more than vllm_max_model_length {longest}: set it to {both}, or give shorter prompts or completions."
            )
        return given
    if checked.asked("use_vllm") and config.vllm_max_model_length is not None:
        return int(config.vllm_max_model_length - config.max_completion_length)
    return PROMPT_TOKENS


def _syncs_each_batch(config: MCPOConfig) -> bool:
    options = config.accelerator_config
    if isinstance(options, str):
        options = json.loads(options)
    accumulation = (
        options.get("gradient_accumulation_kwargs")
        if isinstance(options, dict)
        else getattr(options, "gradient_accumulation_kwargs", None)
    )
    return bool((accumulation or {}).get("sync_each_batch", False))
