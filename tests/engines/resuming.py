"""Run by test_failures_resuming.py on each rank: trains, or goes on where a launch with other ranks stopped."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from .engines import Engine, set_up

KINDS = {
    Engine.DDP: {"whole": {}, "mixture": {"mixture": "equal"}},
    Engine.FSDP2: {"sharded": {"state": "SHARDED_STATE_DICT"}, "full": {"state": "FULL_STATE_DICT"}},
    Engine.ZERO2: {"zero2": {"engine": Engine.ZERO2}, "zero3": {"engine": Engine.ZERO3}},
}
"""What one launch of an engine trains, one after the other."""


def fixed_rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """The same completions for a prompt wherever it is rolled out; uneven lengths."""
    import torch

    from trainers.conftest import make_tokenizer

    tokenizer, seen = make_tokenizer(), {}
    prompt_ids, completion_ids = [], []
    for prompt in prompts:
        text = prompt[0]["content"]
        seen[text] = seen.get(text, -1) + 1
        generator = torch.Generator().manual_seed(sum(map(ord, text)) * 10 + seen[text])
        length = int(torch.randint(2, 9, (), generator=generator))
        prompt_ids.append(tokenizer(text)["input_ids"])
        completion_ids.append(torch.randint(3, 26, (length,), generator=generator).tolist())
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def train(directory: Path, *, engine: Engine, batch: int, steps: int, resume: bool = False, **options: Any) -> Any:
    """Train, or resume, and return what there is to compare; or the message of the refusal."""
    from accelerate.utils import gather_object

    from mcpo_rl.errors import CheckpointError
    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
    from trainers.conftest import history, make_dataset, make_model, make_tokenizer, parity_reward

    from .engines import start_anew, training_options

    start_anew()
    if "state" in options:
        os.environ["FSDP_STATE_DICT_TYPE"] = options.pop("state")
    prompts: list[Any] = []

    def watched(prompts_: list[Any], trainer: Any) -> dict[str, Any]:
        prompts.append(gather_object([prompt[0]["content"] for prompt in prompts_]))
        return fixed_rollouts(prompts_, trainer)

    settings = {
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 2,
        "report_to": [],
        "bf16": False,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "gradient_accumulation_steps": 2,
        "contrastive_coef": 0.5,
        "contrastive_warmup_steps": 0,
        "head_dim": 16,
        "seed": 7,
        **training_options(engine),
        **options,
    }
    args = MCPOConfig(output_dir=str(directory), per_device_train_batch_size=batch, max_steps=steps, **settings)
    trainer = MCPOTrainer(
        make_model(),
        parity_reward,
        args,
        make_dataset(24),
        processing_class=make_tokenizer(),
        rollout_func=watched,
    )
    before = {name: value.sum().item() for name, value in trainer.model.named_parameters()}
    try:
        trainer.train(resume_from_checkpoint=resume or None)
    except CheckpointError as error:
        after = {name: value.sum().item() for name, value in trainer.model.named_parameters()}
        return {"refused": str(error), "untouched": before == after and not trainer.state.global_step}
    return {
        "prompts": prompts,
        "losses": history(trainer, "loss"),
        "norms": history(trainer, "grad_norm"),
        "contrastive": history(trainer, "contrastive/loss"),
    }


def attempts(directory: Path, ranks: int, **options: Any) -> dict[str, Any]:
    """On two ranks: two steps and a checkpoint. On one: refused attempts to go on from it, one that is not, and a run
    that was never interrupted."""
    if ranks == 2:
        return {
            "first": train(directory / "out", batch=4, steps=2, **options),
            "head": train(directory / "out", batch=4, steps=4, resume=True, head_dim=8, **options),
        }
    return {
        "batch": train(directory / "out", batch=4, steps=4, resume=True, **options),
        "resumed": train(directory / "out", batch=8, steps=4, resume=True, **options),
        "straight": train(directory / "straight", batch=8, steps=4, **options),
    }


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("engine", type=Engine)
    asked, ranks = parser.parse_args(words), int(os.environ["WORLD_SIZE"])
    warnings.simplefilter("ignore")
    set_up(asked.engine)
    found = {
        kind: attempts(asked.directory / kind, ranks, **{"engine": asked.engine, **options})
        for kind, options in KINDS[asked.engine].items()
    }
    if os.environ["RANK"] == "0":
        (asked.directory / f"{ranks}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
