"""Run by test_ranks.py on each rank: trainings with a mixture on fixed rollouts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from trainers.conftest import history, make_dataset, parameters_of
from trainers.rollouts import fixed_rollouts, picky_reward

from .ranks import make

KEYS = (
    "loss",
    "grad_norm",
    "reward",
    "frac_reward_zero_std",
    "domain/math/accuracy",
    "contrastive/loss",
    "mixture/math/informative_share",
)
ADAPTIVE = {"curriculum": {"kind": "worst_domain", "step_size": 20.0, "smoothing": 0.0}}
CHECKPOINT = "checkpoint-2"


def trainer_on(directory: Path, ranks: int, **options: Any) -> Any:
    """8 prompts a batch; the contrastive term at once."""
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 8 // ranks,
        "gradient_accumulation_steps": 4,
        "contrastive_coef": 0.5,
        "contrastive_warmup_steps": 0,
        "rollout_func": fixed_rollouts,
        "reward": picky_reward,
        "dataset": make_dataset(60),
    }
    return make(directory, **{**settings, **options})


def resampled_step(directory: Path, ranks: int) -> dict[str, Any]:
    """One step with groups replaced; returns the result and the rows that were trained on."""
    trainer = trainer_on(directory, ranks, mixture={"resample": 3}, max_steps=1)
    trainer.train()
    rows = gather_object([rollout["row"] for rollout in trainer._resampled.rollouts])
    return {
        "parameters": parameters_of(trainer),
        "log": {key: history(trainer, key) for key in KEYS},
        "rows": json.dumps(rows[:: trainer.num_generations]),
        "replaced": history(trainer, "mixture/replaced_groups"),
        "rolled_out": history(trainer, "mixture/resampled_groups"),
    }


def problems_of_a_run(directory: Path, ranks: int, *, resume: bool, **options: Any) -> list[Any]:
    """The prompts of every generation batch and the shares asked for, from the log's beginning."""
    seen: list[Any] = []

    def watched(prompts: list[Any], completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
        seen.append(gather_object([prompt[0]["content"] for prompt in prompts]))
        return picky_reward(prompts, completion_ids)

    trainer = trainer_on(
        directory, ranks, mixture=ADAPTIVE, reward=watched, contrastive_coef=0.0, max_steps=5, save_steps=2, **options
    )
    trainer.train(resume_from_checkpoint=resume)
    return [seen, history(trainer, "mixture/math/asked_share")]


def main(directory: Path, ranks: int) -> None:
    """On several ranks: a step with groups replaced, and a run that goes on where `whole_run` left a checkpoint."""
    found = resampled_step(directory / "step", ranks)
    found["resumed"] = json.dumps(problems_of_a_run(directory / "resumed", ranks, resume=True))
    if torch.distributed.get_rank() == 0:
        torch.save(found, directory / "mixture.pt")


def whole_run(directory: Path) -> list[Any]:
    """On one rank, from the beginning; leaves its checkpoint where `main` resumes from it."""
    found = problems_of_a_run(directory / "whole", 1, resume=False, save_strategy="steps")
    shutil.copytree(directory / "whole" / "out" / CHECKPOINT, directory / "resumed" / "out" / CHECKPOINT)
    return found
