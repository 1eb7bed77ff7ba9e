"""Run on each rank: a few steps of DPO with the contrastive term, in full and with LoRA; leaves what came of them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from .engines import Engine, set_up, training_options

ROWS_PER_STEP = 8
CASES = ("full", "lora")


def train(case: str, engine: Engine, ranks: int, directory: Path) -> dict[str, Any]:
    """Train two steps of 8 preference rows each, however many ranks share them; return weights, head and log.

    `full` has a reference model beside the policy; `lora` reads rows from a stream, checkpoints activations, and its
    reference is the policy without LoRA.
    """
    from transformers import set_seed

    from mcpo_rl.trainers.trl import MCPODPOConfig, MCPODPOTrainer
    from trainers.conftest import make_model, make_tokenizer
    from trainers.test_dpo import make_preferences

    from .engines import start_anew
    from .recording import whole_weight
    from .training import lora

    start_anew()
    policy, reference = make_model(), make_model(seed=1)  # before ZeRO-3 would shard them, and draw other weights
    args = MCPODPOConfig(
        output_dir=str(directory / "out"),
        per_device_train_batch_size=ROWS_PER_STEP // (2 * ranks),
        gradient_accumulation_steps=2,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=case == "lora",
        contrastive_coef=0.1,
        contrastive_warmup_steps=0,
        min_transferability=-1.0,
        **training_options(engine),
    )
    rows = make_preferences(2 * ROWS_PER_STEP)
    set_seed(11)  # LoRA's weights
    trainer = MCPODPOTrainer(
        policy,
        None if case == "lora" else reference,
        args,
        train_dataset=rows.to_iterable_dataset() if case == "lora" else rows,
        processing_class=make_tokenizer(),
        peft_config=lora() if case == "lora" else None,
    )
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return {
        "before": before,
        "weights": {name: whole_weight(value).detach().clone() for name, value in trained.items()},
        "head": trainer._pool_phase.objective.head.state_dict(),
        "log": [row for row in trainer.state.log_history if "loss" in row],
    }


def main(directory: Path, engine: Engine) -> None:
    warnings.simplefilter("ignore")
    set_up(engine)
    import os

    import torch

    for case in CASES:
        result = train(case, engine, int(os.environ["WORLD_SIZE"]), directory)
        torch.save(result, directory / f"{case}.{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Engine(sys.argv[2]))
