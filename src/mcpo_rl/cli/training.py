"""One training run from a recipe: what `mcpo-rl train` and `mcpo-rl demo` share.

Imported inside the commands only: it loads torch and TRL.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState

from mcpo_rl.cli.progress import evaluation_progress
from mcpo_rl.config import Recipe, check_fields
from mcpo_rl.data import load_problems, to_dataset
from mcpo_rl.errors import ConfigError, MCPOError, MissingDependencyError, RunError
from mcpo_rl.evaluation import EvaluationResult, evaluate
from mcpo_rl.models import load_model_and_tokenizer, load_tokenizer, resolve_model
from mcpo_rl.rewards import verifier_reward
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.runs.manifest import data_fingerprint
from mcpo_rl.trainers.trl import (
    InterruptCallback,
    MCPOConfig,
    MCPOTrainer,
    ProgressCallback,
    RunMetricsCallback,
    find_last_complete_checkpoint,
)
from mcpo_rl.trainers.trl.checkpoint import whole_or_absent
from mcpo_rl.types import Problem


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """What a run ended with."""

    path: Path
    """The run directory."""
    step: int
    """Optimizer steps done in all."""
    interrupted: bool
    """Stopped by a signal, after a checkpoint."""
    is_main_process: bool = True
    """False on the other ranks of a distributed run: they write and print nothing."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The trainer's summary (`train_runtime`, `train_loss`, ...)."""
    evaluation: EvaluationResult | None = None
    """Held-out accuracy after training; None without `eval_problems` or on several processes."""


def run_training(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> TrainingOutcome:
    """Train what the recipe says and leave a complete run directory.

    Args:
        recipe: See `mcpo_rl.config.Recipe`.
        resume: Continue the run in `recipe.output_dir` from its last complete checkpoint; start it if there is none.
        quiet: Show no progress.

    Raises:
        ConfigError: A trainer's field that does not exist, has another type, or cannot be combined with another.
        RunError: The directory holds another run.
        CheckpointError: A checkpoint could not be written; the last complete one is intact.
        MCPOError: Problems or a model that cannot be loaded.
    """
    path = Path(recipe.output_dir)
    config = training_config(recipe, path / "checkpoints")
    peft_config = lora_config(recipe.peft)
    problems = [problem for entry in recipe.problems for problem in load_problems(entry)]
    heldout = [problem for entry in recipe.eval_problems for problem in load_problems(entry)]
    load_tokenizer(recipe.model)  # a mistake in the model's name should leave no run directory
    if quiet or not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    state = PartialState()
    run = RunDirectory(path)
    if state.is_main_process:
        run = RunDirectory.create(path, recipe.to_mapping(), resume=resume)
    state.wait_for_everyone()
    with recorded(run, active=state.is_main_process):
        checkpoint = find_last_complete_checkpoint(run.checkpoints) if resume else None
        if state.is_main_process:
            begin(run, recipe, problems, heldout, checkpoint)
        return _train(recipe, config, peft_config, problems, heldout, run, checkpoint, quiet=quiet)


def _train(
    recipe: Recipe,
    config: MCPOConfig,
    peft_config: Any,
    problems: list[Problem],
    heldout: list[Problem],
    run: RunDirectory,
    checkpoint: Path | None,
    *,
    quiet: bool,
) -> TrainingOutcome:
    """Load the model, evaluate, train, save, evaluate."""
    model, tokenizer = _load(recipe, config)
    main = PartialState().is_main_process
    evaluates = bool(heldout) and PartialState().num_processes == 1
    if evaluates and recipe.evaluation.before and checkpoint is None:
        _evaluate(model, tokenizer, heldout, recipe, config, label="evaluate before", quiet=quiet).save(
            run.start_eval_file
        )
    interrupt = InterruptCallback(notify=_say)
    callbacks: list[Any] = [interrupt]
    if main:
        callbacks.append(RunMetricsCallback(run))
        callbacks += [] if quiet else [ProgressCallback(f"train {recipe.method}")]
    trainer = MCPOTrainer(
        model=model,
        reward_funcs=verifier_reward,
        args=config,
        train_dataset=to_dataset(problems),
        processing_class=tokenizer,
        callbacks=callbacks,
        peft_config=peft_config,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if main:
        trainer.rollout_observers.append(lambda batch: _keep(run, batch))
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    outcome: dict[str, Any] = {"path": run.path, "step": trainer.state.global_step, "is_main_process": main}
    if interrupt.interrupted:
        if main:
            run.write_manifest(status="interrupted", step=trainer.state.global_step)
        return TrainingOutcome(interrupted=True, metrics=result.metrics, **outcome)
    save_final_model(trainer, run.path / "model")
    evaluation = None
    if evaluates:
        evaluation = _evaluate(trainer.model, tokenizer, heldout, recipe, config, label="evaluate", quiet=quiet)
        evaluation.save(run.eval_file)
    elif heldout and main:
        # One rank alone cannot generate with a sharded model, and the others would time out waiting for it.
        print(f"evaluate on one device: mcpo-rl eval --model {run.path} --problems ...", file=sys.stderr)
    if main:
        run.write_manifest(status="finished", step=trainer.state.global_step, summary=result.metrics)
    return TrainingOutcome(interrupted=False, metrics=result.metrics, evaluation=evaluation, **outcome)


def training_config(recipe: Recipe, output_dir: Path) -> MCPOConfig:
    """Return the trainer's configuration, names and types checked.

    Raises:
        ConfigError: An unknown field (with the nearest valid one), a wrong type, or a combination that cannot work.
        MissingDependencyError: `use_vllm: true` without vLLM.
    """
    hints = typing.get_type_hints(MCPOConfig)
    # `output_dir` and `seed` are keys of the recipe itself.
    own = {name for name in Recipe.__dataclass_fields__ if name != "training"}
    check_fields(
        recipe.training,
        {name: hint for name, hint in hints.items() if name in MCPOConfig.__dataclass_fields__ or name in own},
    )
    values: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": recipe.seed,
        "disable_tqdm": True,
        **recipe.training,
    }
    if recipe.method == "grpo":
        # Over any value in the recipe: a baseline is asked for by `--method grpo` alone.
        values["contrastive_coef"] = 0.0
    if "bf16" not in values and "fp16" not in values and not _has_bf16():
        # TRL's default is bf16, which it refuses on a machine without such a GPU.
        values["bf16"] = False
    if values.get("use_vllm") and importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(
            "`use_vllm: true` needs vLLM: pip install 'mcpo-rl[vllm]', or set `--use_vllm false`."
        )
    try:
        return MCPOConfig(**values)
    except MCPOError:
        raise
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"the trainer refuses this configuration: {error}") from error


def lora_config(arguments: dict[str, Any] | None) -> Any:
    """Return `peft.LoraConfig(**arguments)`, or None for None.

    Raises:
        ConfigError: An argument that `LoraConfig` does not have or refuses.
        MissingDependencyError: PEFT is not installed.
    """
    if arguments is None:
        return None
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError("`peft` in the recipe needs PEFT: pip install 'mcpo-rl[peft]'.")
    from peft import LoraConfig

    check_fields(arguments, dict.fromkeys(LoraConfig.__dataclass_fields__, Any), prefix="peft.")
    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **arguments})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"`peft`: LoraConfig refuses it: {error}") from error


@contextlib.contextmanager
def recorded(run: RunDirectory, *, active: bool) -> Iterator[None]:
    """Write into the manifest how the block ended, if it did not end well.

    A run refused before its first step is removed: the next try, with the mistake mended, would else be refused for the
    directory that this one left behind.
    """
    try:
        yield
    except BaseException as error:
        if active:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            # The disk may be full for the manifest too: the first error is the one to report.
            with contextlib.suppress(RunError):
                run.write_manifest(status=status, error=f"{type(error).__name__}: {error}")
            if isinstance(error, MCPOError) and not run.metrics_file.exists():
                shutil.rmtree(run.path, ignore_errors=True)
        raise


def begin(
    run: RunDirectory, recipe: Recipe, problems: list[Problem], heldout: list[Problem], checkpoint: Path | None
) -> None:
    """Record what the run is made of, and on a resumed one drop what will be written anew.

    Raises:
        RunError: The run has finished and keeps no checkpoint to go on from.
    """
    facts = run.read_manifest()
    if checkpoint is None and (run.path / "model").is_dir():
        raise RunError(f"{run.path} has finished and keeps no checkpoint to resume from; give another --output_dir.")
    run.truncate_metrics(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    data = {"train": data_fingerprint(problems), "heldout": data_fingerprint(heldout)}
    if "data" in facts and facts["data"] != data:
        raise RunError(f"the problems are not those that {run.path} was started with; give another --output_dir.")
    run.write_manifest(
        method=recipe.method,
        seed=recipe.seed,
        model=recipe.model,
        data=data,
        processes=PartialState().num_processes,
    )


def save_final_model(trainer: MCPOTrainer, target: Path) -> None:
    """Write the trained model and its tokenizer to `target`, whole or not at all.

    Raises:
        CheckpointError: It could not be written.
    """
    scratch = target.with_name(target.name + ".partial")
    main = trainer.accelerator.is_main_process
    if main:
        shutil.rmtree(scratch, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    with whole_or_absent(scratch, owner=main):
        trainer.save_model(str(scratch))
        trainer.accelerator.wait_for_everyone()
        if main:
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)


def _load(recipe: Recipe, config: MCPOConfig) -> tuple[Any, Any]:
    if config.model_init_kwargs:
        # TRL loads it, with these arguments.
        config.model_init_kwargs = {"dtype": recipe.dtype, **config.model_init_kwargs}
        return resolve_model(recipe.model), load_tokenizer(recipe.model)
    return load_model_and_tokenizer(recipe.model, dtype=recipe.dtype)


def _evaluate(
    model: Any, tokenizer: Any, problems: list[Problem], recipe: Recipe, config: MCPOConfig, *, label: str, quiet: bool
) -> EvaluationResult:
    options = recipe.evaluation
    with evaluation_progress(label, quiet=quiet) as progress:
        return evaluate(
            model,
            tokenizer,
            problems,
            samples=options.samples,
            temperature=options.temperature,
            max_new_tokens=options.max_new_tokens or config.max_completion_length or 512,
            batch_size=options.batch_size,
            seed=recipe.seed,
            chat_template_kwargs=config.chat_template_kwargs,
            progress=progress,
        )


def _has_bf16() -> bool:
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _keep(run: RunDirectory, batch: RolloutBatch) -> None:
    run.write_rollouts(batch)


def _say(text: str) -> None:
    # Not print(): the signal may have come in the middle of one, and buffered writers refuse to be entered twice.
    os.write(2, f"\n{text}\n".encode())
