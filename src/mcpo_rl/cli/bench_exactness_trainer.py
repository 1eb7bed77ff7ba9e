"""How exact a real training step is: the parameters' gradient of `MCPOTrainer` against one backward pass of the pool.

Axes: B rollouts of a process, C tokens of the completion, N rollouts of all processes, d features.

Run as `python -m mcpo_rl.cli.bench_exactness_trainer DIRECTORY` on each of several processes: it leaves what
`measure_ranks` reads in that directory.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mcpo_rl.cli.ranks import leave_group, prepare_to_leave_group
from mcpo_rl.errors import RunError

COEF = 0.5
PROMPTS, GENERATIONS, LENGTH, MICRO_BATCH = 6, 4, 24, 2
SOURCES = ("old_logps", "training", "generation", "forward")


def measure_steps() -> list[dict[str, Any]]:
    """Return one record for each source of the hidden states and precision, on the bundled model, one process.

    Each has `processes`, `source`, `precision`, `micro_batches` and `relative_error`: the norm of the difference of all
    parameters' gradients of the contrastive part over the norm of those of one backward pass.
    """
    return [_record(source, precision) for source in SOURCES for precision in ("float32", "float64", "bf16")]


def measure_ranks(processes: int = 2) -> list[dict[str, Any]]:
    """Return the same for `processes` processes under DistributedDataParallel, each with its share of the rollouts.

    Raises:
        RunError: one of them failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        _launch(processes, Path(directory))
        records: list[dict[str, Any]] = json.loads((Path(directory) / "records.json").read_text())
    return records


def _launch(processes: int, directory: Path) -> None:
    own = {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "TRL_EXPERIMENTAL_SILENCE": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "mcpo_rl.cli.bench_exactness_trainer", str(directory)]
    done = subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ, **own}, capture_output=True, text=True)
    if done.returncode != 0:
        errors = re.findall(r"^(?:\[rank\d+\]: )?([\w.]+Error: .+)$", done.stderr, re.MULTILINE) or ["no message"]
        raise RunError(f"The {processes} processes that measure exactness failed: {errors[0]}")


def _record(source: str, precision: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        trainer = _trainer(source, precision, directory)
        comparison = Comparison(trainer)
        trainer.train()
        error = comparison.relative_error()
    if trainer.feature_source_in_use != source:
        raise RunError(f"Hidden states were to come from {source}, but came from {trainer.feature_source_in_use}.")
    return {
        "processes": comparison.processes,
        "source": source,
        "precision": precision,
        "micro_batches": comparison.micro_batches,
        "relative_error": error,
    }


def _trainer(source: str, precision: str, directory: str) -> Any:
    import torch
    from transformers import PrinterCallback

    from mcpo_rl.data import to_dataset
    from mcpo_rl.data.procedural import generate
    from mcpo_rl.models import load_model_and_tokenizer
    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

    model, tokenizer = load_model_and_tokenizer("builtin:tiny")
    if precision == "float64":
        model = model.to(torch.float64)
    micro_steps = PROMPTS * GENERATIONS // (MICRO_BATCH * int(os.environ.get("WORLD_SIZE", "1")))
    problems = [
        problem
        for domain in ("math", "code", "logic")
        for problem in generate(domain=domain, split="train", count=2, seed=0)
    ]
    trainer = MCPOTrainer(
        model,
        _parity_reward,
        MCPOConfig(
            output_dir=directory,
            per_device_train_batch_size=MICRO_BATCH,
            # Two optimizer steps on one generation batch: the second is off-policy, so TRL computes log-probabilities.
            gradient_accumulation_steps=micro_steps // 2 if source == "old_logps" else micro_steps,
            steps_per_generation=micro_steps,
            num_generations=GENERATIONS,
            max_completion_length=LENGTH,
            max_steps=2 if source == "old_logps" else 1,
            learning_rate=0.0,
            max_grad_norm=0.0,
            contrastive_coef=COEF,
            contrastive_warmup_steps=0,
            feature_source=source,
            use_cpu=True,
            bf16=precision == "bf16",
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        ),
        to_dataset(problems),
        processing_class=tokenizer,
        rollout_func=None if source == "generation" else _rollouts,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _parity_reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    return [float(ids[0] % 2) for ids in completion_ids]


def _rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Roll out random tokens of uneven lengths."""
    chance, tokenizer = random.Random(trainer.accelerator.process_index), trainer.processing_class
    return {
        "prompt_ids": [
            tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False) for prompt in prompts
        ],
        "completion_ids": [
            [chance.randrange(3, len(tokenizer)) for _ in range(chance.randint(2, LENGTH))] for _ in prompts
        ],
        "logprobs": None,
    }


class Comparison:
    """Collects the contrastive gradient of the steps on the first generation batch, and computes it at once.

    The advantages are set to 0, so that the policy loss has no gradient and what arrives is the contrastive part alone:
    the policy's part goes through TRL's own code.

    Args:
        trainer: an `MCPOTrainer` with a learning rate of 0, so that the weights stay.
    """

    def __init__(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        self._trainer = trainer
        self._batch: dict[str, Any] = {}
        self._head: Any = None
        self._found: dict[str, Any] = {}
        self.processes = trainer.accelerator.num_processes
        self.micro_batches = trainer.args.steps_per_generation
        original = trainer._generate_and_score_completions

        def recorded(inputs: Any) -> Any:
            self._head = copy.deepcopy(trainer._pool_phase.objective.head)  # the pool phase updates it
            self._batch = original(inputs)
            self._batch["advantages"].zero_()
            return self._batch

        trainer._generate_and_score_completions = recorded
        comparison = self

        class Collect(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
            def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
                comparison._collect()

        trainer.add_callback(Collect())

    def _collect(self) -> None:
        steps = (
            self._trainer.args.max_steps
        )  # a step has its share of the rollouts; the mean over the steps is the pool's
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                self._found[name] = self._found.get(name, 0.0) + parameter.grad.double() / steps
                parameter.grad.zero_()

    @property
    def _model(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model)

    def relative_error(self) -> float:
        """Compare the two after training: the norm of the difference over the norm of the gradient at once."""
        import torch

        self._model.zero_grad()
        (COEF * self._pool_loss()).backward()
        expected = {
            name: value.grad.double() for name, value in self._model.named_parameters() if value.grad is not None
        }
        if expected.keys() != self._found.keys():
            raise RunError("The training step left gradients on other parameters than one backward pass does.")
        difference = torch.stack([(self._found[name] - expected[name]).norm() for name in expected]).norm()
        return float(difference / torch.stack([value.norm() for value in expected.values()]).norm())

    def _pool_loss(self) -> Any:
        """Return L on the rollouts of all processes, with the graph of one forward pass of all of them."""
        import torch
        from accelerate.utils import gather_object

        from mcpo_rl.objective import RolloutPool, contrastive_loss

        trainer, names = self._trainer, ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        parts = gather_object([{name: self._batch[name] for name in names}])
        with torch.autocast("cpu", torch.bfloat16) if trainer.args.bf16 else nullcontext():
            features = torch.cat([self._features(part) for part in parts])
        scored = trainer._scored
        pool = RolloutPool(
            features=features,
            domains=scored.domains,
            prompts=scored.prompts,
            correct=scored.rewards >= trainer.args.correct_threshold,
        )
        loss, metrics = contrastive_loss(
            self._head(features.to(self._head.dtype)), pool, trainer.args.contrastive_config()
        )
        if not metrics["positives"] > 0:
            raise RunError("The rollouts hold no positive pair, so there is no gradient to compare.")
        return loss

    def _features(self, part: dict[str, Any]) -> Any:
        """Return h (B, d), the mean over the completion's tokens of the last hidden state."""
        import torch

        output = self._model(
            input_ids=torch.cat([part["prompt_ids"], part["completion_ids"]], dim=1),
            attention_mask=torch.cat([part["prompt_mask"], part["completion_mask"]], dim=1),
            output_hidden_states=True,
            use_cache=False,
        )
        mask = part["completion_mask"][..., None]
        hidden = output.hidden_states[-1][:, -mask.shape[1] :]
        hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


def main() -> None:
    """Measure on this process among others; the first one writes."""
    prepare_to_leave_group()
    records = [
        _record(source, precision) for source in ("training", "old_logps") for precision in ("float32", "float64")
    ]
    if int(os.environ.get("RANK", "0")) == 0:
        (Path(sys.argv[1]) / "records.json").write_text(json.dumps(records))
    leave_group()


if __name__ == "__main__":
    main()
