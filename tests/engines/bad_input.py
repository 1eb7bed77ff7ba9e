"""Run by test_failures_input.py on both ranks: trainings in which rank 1 has something odd."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import IterableDataset

from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
from trainers.conftest import history, make_dataset, make_model, make_tokenizer, parity_reward

from .engines import Engine, set_up, start_anew, training_options
from .resuming import fixed_rollouts


def unscored(completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
    """No reward for any rollout of rank 1."""
    rewards = parity_reward(completion_ids)
    return [None] * len(rewards) if os.environ["RANK"] == "1" else rewards


def cut_off(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """All completions of rank 1 are cut off; masked, not one of their tokens counts."""
    rollouts = fixed_rollouts(prompts, trainer)
    if os.environ["RANK"] == "0":
        rollouts["completion_ids"] = [
            [*ids[:-1], trainer.processing_class.eos_token_id] for ids in rollouts["completion_ids"]
        ]
    return rollouts


def sorted_by_domain() -> Any:
    """Of the four prompts of a batch, the first two (rank 0's) are of one domain and the others of another."""
    rows = make_dataset(24, domains=("math", "code"))
    return rows.select([row + shift for row in range(0, 24, 4) for shift in (0, 2, 1, 3)])


def streamed_with_news() -> IterableDataset:
    """Streamed rows, each as often as it is rolled out; half of them are of domains that come once."""
    rows = [dict(row) for row in make_dataset(24, domains=("math", "code"))]
    named = [{**row, "domain": f"new{n // 4}"} if n % 4 > 1 else row for n, row in enumerate(rows)]
    return IterableDataset.from_generator(lambda: (row for row in named for _ in range(4)))


CASES: dict[str, dict[str, Any]] = {
    "unscored": {"reward": unscored},
    "cut off": {"rollouts": cut_off, "mask_truncated_completions": True},
    "one domain each": {"dataset": sorted_by_domain, "shuffle_dataset": False},
    "streamed": {
        "dataset": streamed_with_news,
        "accelerator_config": {"dispatch_batches": False, "split_batches": True},
    },
}


def train(directory: Path, *, reward: Any = parity_reward, rollouts: Any = fixed_rollouts, **options: Any) -> Any:
    start_anew()
    dataset = options.pop("dataset", lambda: make_dataset(24))()
    args = MCPOConfig(
        output_dir=str(directory),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=8,
        learning_rate=1e-3,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
        gradient_accumulation_steps=1,
        contrastive_coef=0.5,
        contrastive_warmup_steps=0,
        **training_options(Engine.DDP),
        **options,
    )
    trainer = MCPOTrainer(make_model(), reward, args, dataset, processing_class=make_tokenizer(), rollout_func=rollouts)
    pools = []
    run = trainer._pool_phase.run

    def watched(*arguments: Any) -> Any:
        outcome = run(*arguments)
        pools.append([outcome.pool.usable.tolist(), outcome.pool.domains.tolist(), outcome.step.loss.item()])
        return outcome

    trainer._pool_phase.run = watched
    trainer.train()
    finite = all(bool(torch.isfinite(value).all()) for value in trainer.model.parameters())
    of_ranks = gather_object([{"pools": pools, "names": trainer.domains.names, "finite": finite}])
    keys = {key for row in trainer.state.log_history for key in row}
    return {
        "ranks": of_ranks,
        "aligned": not trainer._pool_phase.realign(),
        "nonfinite": history(trainer, "contrastive/nonfinite_features"),
        "anchors": history(trainer, "contrastive/anchors"),
        "keys": sorted(keys),
    }


def main(directory: Path) -> None:
    warnings.simplefilter("ignore")
    set_up(Engine.DDP)
    found = {}
    for number, (name, options) in enumerate(CASES.items()):
        found[name] = train(directory / str(number), **options)
    if os.environ["RANK"] == "0":
        (directory / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
