"""Run on each rank: trains two steps with a probe; rank 0 leaves the probe in the directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .engines import Engine, set_up


def main(directory: Path, engine: Engine, ranks: int) -> None:
    from mcpo_rl.runs.probe import ProbeDirectory
    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer, ProbeCallback
    from trainers.conftest import make_dataset, make_model, make_tokenizer, parity_reward
    from trainers.rollouts import fixed_rollouts
    from trainers.test_probing import probe_set

    from .engines import start_anew, training_options

    start_anew()
    model = make_model()  # before the engine is known: ZeRO-3 would draw other weights
    probe = ProbeDirectory(directory / f"{engine}-{ranks}")
    settings: dict[str, Any] = {
        "output_dir": str(directory / "out"),
        "num_generations": 4,
        "max_completion_length": 8,
        "per_device_train_batch_size": 4 // ranks,
        "gradient_accumulation_steps": 4,
        "optim": "sgd",
        "learning_rate": 0.05,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": False,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
    }
    args = MCPOConfig(**{**settings, **training_options(engine)})
    trainer = MCPOTrainer(
        model,
        parity_reward,
        args,
        make_dataset(),
        processing_class=make_tokenizer(),
        rollout_func=fixed_rollouts,
        callbacks=[ProbeCallback(probe)],
    )
    assert trainer.accelerator.num_processes == ranks
    if trainer.accelerator.is_main_process:
        probe.write_set(probe_set())
    trainer.train()


if __name__ == "__main__":
    set_up(Engine(sys.argv[2]))
    main(Path(sys.argv[1]), Engine(sys.argv[2]), int(sys.argv[3]))
