"""Run by test_ranks.py on each rank: trains on fixed rollouts and leaves parameters and log with rank 0."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from mcpo_rl.rewards import make_verifier_reward
from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
from trainers.conftest import history, make_dataset, make_model, make_tokenizer, parameters_of, parity_reward
from trainers.rollouts import fixed_rollouts, picky_reward

KEYS = ("loss", "grad_norm", "domain/math/accuracy", "contrastive/loss", "contrastive/weight", "contrastive/grad_norm")

ADVANTAGES = ("contrastive/advantage_groups", "contrastive/advantage_agreement", "grad_norm")


def make(directory: Path, **options: Any) -> MCPOTrainer:
    rollout = options.pop("rollout_func", None)
    reward, dataset = options.pop("reward", parity_reward), options.pop("dataset", None) or make_dataset()
    settings: dict[str, Any] = {
        "output_dir": str(directory / "out"),
        "num_generations": 4,
        "max_completion_length": 8,
        "optim": "sgd",
        "learning_rate": 0.05,
        "max_steps": 3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "contrastive_warmup_steps": 2,
    }
    model = make_model(torch.float64)
    args = MCPOConfig(**{**settings, **options})
    return MCPOTrainer(model, reward, args, dataset, processing_class=make_tokenizer(), rollout_func=rollout)


def main(directory: Path, ranks: int) -> None:
    trainer = make(
        directory,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4 // ranks,
        rollout_func=fixed_rollouts,
    )
    assert trainer.accelerator.num_processes == ranks
    trainer.train()
    found = {"parameters": parameters_of(trainer), "log": {key: history(trainer, key) for key in KEYS}}
    phase = trainer._pool_phase
    found["drifted"] = [phase.realign()]
    if trainer.accelerator.process_index == 1:
        phase.objective.head.inner.weight.data.add_(0.1)
    found["drifted"] += [phase.realign(), phase.realign()]
    sampled = make(directory, per_device_train_batch_size=8, gradient_accumulation_steps=1, feature_source="generation")
    sampled.train()
    found["source"] = sampled.feature_source_in_use
    found["sampled_drifted"] = sampled._pool_phase.realign()
    given = make(
        directory,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4 // ranks,
        rollout_func=fixed_rollouts,
        reward=picky_reward,
        contrastive_advantage=0.5,
    )
    given.train()
    found["given"] = parameters_of(given)
    found["advantages"] = {key: history(given, key) for key in ADVANTAGES}
    judged = make(
        directory,
        per_device_train_batch_size=8 // ranks,
        gradient_accumulation_steps=1,
        max_steps=1,
        rollout_func=fixed_rollouts,
        reward=make_verifier_reward(workers=1),
        dataset=make_dataset(domains=("math",)).map(lambda row: {"reference": '"7"'}),
    )
    judged.train()
    found["judged"] = {key: value for key, value in judged.state.log_history[0].items() if key.startswith("verify/")}
    if trainer.accelerator.is_main_process:
        torch.save(found, directory / f"ranks-{ranks}.pt")


if __name__ == "__main__":
    from . import mixture_ranks

    main(Path(sys.argv[1]), int(sys.argv[2]))
    mixture_ranks.main(Path(sys.argv[1]), int(sys.argv[2]))
