"""Run on each rank: measures the domains' gradients in one step on fixed rollouts; rank 0 leaves what was logged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .engines import Engine, set_up

CASES: dict[str, dict[str, Any]] = {
    "last": {},
    "contrastive": {"contrastive_coef": 0.5, "contrastive_warmup_steps": 0},
    "layers": {"interference_layers": ["q_proj", "down_proj"]},
    "layers_checkpointing": {
        "interference_layers": ["q_proj", "down_proj"],
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    },
    "layers_lora": {"interference_layers": ["q_proj", "down_proj"]},
    "sketched": {"interference_sketch_dim": 24},
}


def main(directory: Path, engine: Engine, ranks: int) -> None:
    from transformers import set_seed

    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
    from trainers.conftest import make_dataset, make_model, make_tokenizer, parity_reward
    from trainers.rollouts import fixed_rollouts

    from .engines import start_anew, training_options
    from .training import lora

    found: dict[str, Any] = {}
    for name, options in CASES.items():
        start_anew()
        model = make_model()  # before the engine is known: ZeRO-3 would draw other weights
        settings: dict[str, Any] = {
            "output_dir": str(directory / "out"),
            "num_generations": 4,
            "max_completion_length": 8,
            "per_device_train_batch_size": 24 // (4 * ranks),
            "gradient_accumulation_steps": 4,
            "optim": "sgd",
            "learning_rate": 0.05,
            "max_steps": 1,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "bf16": False,
            "disable_tqdm": True,
            "gradient_checkpointing": False,
            "contrastive_coef": 0.0,
            "interference_steps": 1,
        }
        args = MCPOConfig(**{**settings, **options, **training_options(engine)})
        set_seed(11)  # LoRA's weights
        trainer = MCPOTrainer(
            model,
            parity_reward,
            args,
            make_dataset(),
            processing_class=make_tokenizer(),
            rollout_func=fixed_rollouts,
            peft_config=lora() if name.endswith("lora") else None,
        )
        assert trainer.accelerator.num_processes == ranks
        trainer.train()
        row = trainer.state.log_history[0]
        found[name] = {key: value for key, value in row.items() if key.startswith("interference/")}
    if trainer.accelerator.is_main_process:
        (directory / f"{engine}-{ranks}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    set_up(Engine(sys.argv[2]))
    main(Path(sys.argv[1]), Engine(sys.argv[2]), int(sys.argv[3]))
