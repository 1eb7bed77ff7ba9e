"""One scenario on one engine, from the model to the recording."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PreTrainedModel, set_seed

from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
from trainers.conftest import make_dataset, make_tokenizer

from .engines import Engine, start_anew, training_options
from .models import make_family
from .recording import Recording
from .scenario import SCENARIOS, Scenario, make_reward, make_rollouts


def lora() -> LoraConfig:
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)


def make_model(scenario: Scenario) -> PreTrainedModel:
    return make_family(scenario.family, tied=scenario.tied, initializer_range=scenario.scale)


def make_trainer(scenario: Scenario, engine: Engine, directory: Path, *, gpu: bool = False) -> MCPOTrainer:
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    start_anew()
    early = make_model(scenario) if scenario.model_first else None
    args = MCPOConfig(
        output_dir=str(directory / "out"), **scenario.arguments(ranks), **training_options(engine, gpu=gpu)
    )
    model = early if early is not None else make_model(scenario)
    set_seed(11)  # LoRA's weights
    return MCPOTrainer(
        model,
        make_reward(scenario.rollouts, rank, ranks),
        args,
        make_dataset(),
        processing_class=make_tokenizer(),
        rollout_func=None if scenario.rollouts is None else make_rollouts(scenario.rollouts, rank, ranks),
        peft_config=lora() if scenario.lora else None,
    )


def record(name: str, engine: Engine, directory: Path, *, gpu: bool = False) -> dict[str, Any]:
    """Train a scenario; the main process leaves `<name>.pt`."""
    trainer = make_trainer(SCENARIOS[name], engine, directory / name, gpu=gpu)
    recording = Recording(trainer)
    trainer.train()
    result = recording.result()
    if trainer.accelerator.is_main_process:
        torch.save(result, directory / f"{name}.pt")
    return result
