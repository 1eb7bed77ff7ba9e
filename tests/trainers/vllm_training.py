"""Run by test_vllm_gpu.py in a process of its own: the bundled model trained with completions of the real vLLM."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from mcpo_rl.models import TINY
from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

STEPS = 4


def problems() -> Dataset:
    """Sums of single digits, called by the names of three domains."""
    draw = random.Random(0)
    texts = [" + ".join(str(draw.randrange(10)) for _ in range(draw.randrange(2, 6))) for _ in range(48)]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": f"What is {text}?"}] for text in texts],
            "domain": [("math", "code", "logic")[row % 3] for row in range(len(texts))],
        }
    )


def reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    """1 for about half of any completions."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def main() -> None:
    """Train, then write the log, what was synchronized and what the policy has to --output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--options", type=json.loads, required=True)
    parser.add_argument("--stale", action="store_true", help="never synchronize again: to see that it shows")
    given = parser.parse_args()
    gpu = torch.cuda.is_available()
    args = MCPOConfig(
        output_dir=str(given.output.parent / "run"),
        per_device_train_batch_size=12,
        gradient_accumulation_steps=2,
        num_generations=4,
        max_completion_length=24,
        learning_rate=2e-3,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        use_cpu=not gpu,
        contrastive_coef=0.5,
        contrastive_warmup_steps=0,
        use_vllm=True,
        vllm_max_model_length=256,
        **given.options,
    )
    trainer = MCPOTrainer(str(TINY), reward, args, problems())
    parameters = {name: list(values.shape) for name, values in trainer.model.named_parameters()}
    synchronized: list[dict[str, list[int]]] = []
    original = trainer.vllm_generation._iter_named_params

    def watched() -> Any:
        synchronized.append({})
        for name, values in original():
            synchronized[-1][name] = list(values.shape)
            yield name, values

    trainer.vllm_generation._iter_named_params = watched
    if given.stale:
        trainer._last_loaded_step = 0
        trainer.vllm_generation.sync_weights = lambda: None
    trainer.train()
    result = {
        "log": trainer.state.log_history,
        "source": trainer.feature_source_in_use,
        "parameters": parameters,
        "synchronized": synchronized,
    }
    given.output.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
