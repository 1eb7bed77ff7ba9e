"""One training run from a recipe: what `mcpo-rl train` and `mcpo-rl demo` share.

Imported inside the commands only: it loads torch and TRL.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mcpo_rl.cli.heldout import (
    evaluate_heldout,
    evaluate_model_of,
    evaluate_start,
    heldout_problems,
    is_only_trained,
    watched_while_training,
)
from mcpo_rl.cli.probing import check_probe, probe_callbacks
from mcpo_rl.cli.ranks import failing_with_one_cause, prepare_to_leave_group
from mcpo_rl.cli.recording import begin, created, recorded, removed_if_refused
from mcpo_rl.cli.sandbox_options import use_recipe_sandbox
from mcpo_rl.cli.trainer_config import check_lora_base, lora_config, training_config
from mcpo_rl.cli.training_data import training_data
from mcpo_rl.config import Recipe
from mcpo_rl.evaluation import EvaluationResult
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
from mcpo_rl.trainers.trl.running.checkpoint import whole_or_absent
from mcpo_rl.trainers.trl.sampling.mixing import check_mixture
from mcpo_rl.trainers.trl.surgery import PCGradTrainer
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
    feature_source: str | None = None
    """Where the hidden states of the pool came from (`feature_source`); None: there was no pool."""
    metrics: dict[str, float] = field(default_factory=dict)
    """The trainer's summary (`train_runtime`, `train_loss`, ...)."""
    evaluation: EvaluationResult | None = None
    """Held-out accuracy after training; None without `eval_problems` or on several processes."""


def run_training(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> TrainingOutcome:
    """Train what the recipe says and leave a complete run directory.

    Args:
        recipe: See `mcpo_rl.config.Recipe`.
        resume: Continue the run in `recipe.output_dir` from its last complete checkpoint; start it if there is none. On
            one process, a run that several have finished is evaluated.
        quiet: Show no progress.

    Raises:
        ConfigError: A trainer's field that does not exist, has another type, or cannot be combined with another.
        RunError: The directory holds another run.
        CheckpointError: A checkpoint could not be written; the last complete one is intact.
        MCPOError: Problems or a model that cannot be loaded.
    """
    path = Path(recipe.output_dir)
    prepare_to_leave_group()
    config = training_config(recipe, path / "checkpoints")
    use_recipe_sandbox(recipe.sandbox)
    peft_config = lora_config(recipe.peft)
    if quiet or not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
        datasets.disable_progress_bars()
    data = training_data(recipe.problems, recipe.domains)
    check_mixture(config, data.dataset)
    heldout = heldout_problems(recipe)
    watched = watched_while_training(config, heldout)
    check_probe(recipe, RunDirectory(path))
    check_lora_base(recipe)
    load_tokenizer(recipe.model)  # a mistake in the model's name should leave no run directory
    state = PartialState()
    if resume and heldout and state.num_processes == 1 and is_only_trained(run := RunDirectory(path)):
        return _evaluate_trained(run, recipe, config, heldout, quiet=quiet)
    fresh = not RunDirectory(path).manifest_file.exists()
    with failing_with_one_cause(None, config.ddp_timeout):
        run = created(path, recipe, resume=resume)
    with recorded(run), failing_with_one_cause(path, config.ddp_timeout):
        with removed_if_refused(run, active=state.is_main_process and fresh):
            checkpoint = _last_checkpoint(run) if resume else None
            if state.is_main_process:
                begin(run, recipe, {"train": data.fingerprint, "heldout": data_fingerprint(heldout)}, checkpoint)
            model, tokenizer = _load(recipe, config)
            if heldout and recipe.evaluation.before and checkpoint is None and state.num_processes == 1:
                evaluate_start(run, model, tokenizer, heldout, recipe, config, quiet=quiet)
            probe = probe_callbacks(recipe, run, model, tokenizer, config, quiet=quiet)
            interrupt = InterruptCallback(notify=_say if state.is_main_process else None)
            trainer_class = PCGradTrainer if recipe.method == "pcgrad" else MCPOTrainer
            trainer = trainer_class(
                model=model,
                reward_funcs=verifier_reward,
                args=config,
                train_dataset=data.dataset,
                eval_dataset=watched,
                processing_class=tokenizer,
                callbacks=[interrupt, *probe, *_writers(run, recipe, quiet=quiet)],
                peft_config=peft_config,
            )
        return _train(trainer, interrupt, checkpoint, run, recipe, heldout, quiet=quiet)


def _evaluate_trained(
    run: RunDirectory, recipe: Recipe, config: MCPOConfig, heldout: list[Problem], *, quiet: bool
) -> TrainingOutcome:
    """Evaluate a run that `is_only_trained` holds of; its config is checked, and nothing is trained."""
    facts = run.read_manifest()
    run = RunDirectory.create(run.path, recipe.to_mapping(), resume=True)
    with recorded(run):
        evaluation = evaluate_model_of(run, heldout, recipe, config, quiet=quiet)
        run.write_manifest(status="finished")
    source, step = facts.get("feature_source"), int(facts.get("step") or 0)
    return TrainingOutcome(path=run.path, step=step, interrupted=False, feature_source=source, evaluation=evaluation)


def _writers(run: RunDirectory, recipe: Recipe, *, quiet: bool) -> list[Any]:
    """Return the callbacks of the process that writes; the other ranks have none."""
    if not PartialState().is_main_process:
        return []
    return [RunMetricsCallback(run), *([] if quiet else [ProgressCallback(f"train {recipe.method}")])]


def _train(
    trainer: MCPOTrainer,
    interrupt: InterruptCallback,
    checkpoint: Path | None,
    run: RunDirectory,
    recipe: Recipe,
    heldout: list[Problem],
    *,
    quiet: bool,
) -> TrainingOutcome:
    """Train, save the model, evaluate it."""
    main = PartialState().is_main_process
    trainer.remove_callback(transformers.PrinterCallback)
    if main:
        trainer.rollout_observers.append(lambda batch: _keep(run, batch))
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    source = trainer.feature_source_in_use
    outcome: dict[str, Any] = {"path": run.path, "step": trainer.state.global_step, "is_main_process": main}
    outcome["feature_source"] = source
    if interrupt.interrupted:
        if main:
            run.write_manifest(status="interrupted", step=trainer.state.global_step, feature_source=source)
        return TrainingOutcome(interrupted=True, metrics=result.metrics, **outcome)
    save_final_model(trainer, run.path / "model")
    evaluation = None
    if heldout and PartialState().num_processes == 1:
        model, tokenizer = trainer.model, trainer.processing_class
        evaluation = evaluate_heldout(model, tokenizer, heldout, recipe, trainer.args, label="evaluate", quiet=quiet)
        evaluation.save(run.eval_file)
    elif heldout and main:
        # One rank alone cannot generate with a sharded model, and the others would time out waiting for it.
        print("evaluate on one device: the same with --resume, without the launcher", file=sys.stderr)
    if main:
        facts = {"step": trainer.state.global_step, "feature_source": source, "summary": result.metrics}
        run.write_manifest(status="finished", **facts)
    return TrainingOutcome(interrupted=False, metrics=result.metrics, evaluation=evaluation, **outcome)


def _last_checkpoint(run: RunDirectory) -> Path | None:
    """Return the checkpoint to go on from, as the main process sees it: a shared disk may show others later."""
    state = PartialState()
    found = [None if (last := find_last_complete_checkpoint(run.checkpoints)) is None else str(last)]
    if state.num_processes > 1:
        broadcast_object_list(found)
    return Path(found[0]) if found[0] else None


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


def _keep(run: RunDirectory, batch: RolloutBatch) -> None:
    run.write_rollouts(batch)


def _say(text: str) -> None:
    # Not print(): the signal may have come in the middle of one, and buffered writers refuse to be entered twice.
    os.write(2, f"\n{text}\n".encode())
