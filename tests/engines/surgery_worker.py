"""Run on each rank: two steps of PCGrad on fixed rollouts; leaves parameters and log with rank 0."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from mcpo_rl.trainers.trl.surgery import PCGradConfig, PCGradTrainer
from trainers.conftest import history, make_dataset, make_model, make_tokenizer, parameters_of
from trainers.rollouts import fixed_rollouts

KEYS = (
    "grad_norm",
    "surgery/norm/code",
    "surgery/cosine/code/math",
    "surgery/cosine/code/logic",
    "surgery/projected",
    "surgery/norm_ratio",
)


def opposed_reward(completion_ids: list[list[int]], domain: list[str], **kwargs: Any) -> list[float]:
    """What is right in code is wrong elsewhere."""
    return [float(ids[0] % 2 == (name != "code")) for ids, name in zip(completion_ids, domain, strict=True)]


def main(directory: Path, ranks: int) -> None:
    found: dict[str, Any] = {}
    for scope in ("model", "module"):
        args = PCGradConfig(
            output_dir=str(directory / "out"),
            num_generations=4,
            max_completion_length=8,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=4 // ranks,
            optim="sgd",
            learning_rate=0.05,
            max_steps=2,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            bf16=False,
            use_cpu=True,
            disable_tqdm=True,
            gradient_checkpointing=False,
            surgery_scope=scope,
        )
        trainer = PCGradTrainer(
            make_model(torch.float64),
            opposed_reward,
            args,
            make_dataset(),
            processing_class=make_tokenizer(),
            rollout_func=fixed_rollouts,
        )
        assert trainer.accelerator.num_processes == ranks
        trainer.train()
        found[scope] = {
            "parameters": parameters_of(trainer),
            "log": {key: history(trainer, key) for key in KEYS},
            "domains": len({row["domain"] for row in trainer._rows}),
        }
    torch.save(found, directory / f"ranks-{ranks}-{trainer.accelerator.process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
