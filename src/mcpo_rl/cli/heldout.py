"""The held-out problems of a recipe, put to the model of a run as the recipe says.

Imported inside the commands only: it loads torch and TRL.
"""

from __future__ import annotations

from typing import Any

import torch

from mcpo_rl.cli.progress import evaluation_progress
from mcpo_rl.config import Recipe
from mcpo_rl.data import load_problems, to_dataset
from mcpo_rl.errors import ConfigError
from mcpo_rl.evaluation import EvaluationResult, evaluate
from mcpo_rl.models import load_model_and_tokenizer
from mcpo_rl.runs import RunDirectory
from mcpo_rl.trainers.trl import MCPOConfig
from mcpo_rl.types import Problem


def heldout_problems(recipe: Recipe) -> list[Problem]:
    """Return the problems of `eval_problems`.

    Raises:
        ProblemError: A source that cannot be read.
    """
    return [problem for entry in recipe.eval_problems for problem in load_problems(entry)]


def watched_while_training(config: MCPOConfig, problems: list[Problem]) -> Any:
    """Return the held-out problems as the trainer evaluates on them during training; None where it is not to.

    Raises:
        ConfigError: It is to, but there are none.
    """
    if str(getattr(config.eval_strategy, "value", config.eval_strategy)) == "no" and not config.eval_on_start:
        return None
    if not problems:
        raise ConfigError(
            "`eval_strategy` asks for evaluations during training, but the recipe has no `eval_problems`. Add held-out "
            "problems, or leave `eval_strategy` out."
        )
    return to_dataset(problems)


def evaluate_heldout(
    model: Any, tokenizer: Any, problems: list[Problem], recipe: Recipe, config: MCPOConfig, *, label: str, quiet: bool
) -> EvaluationResult:
    """Return how `model` does on held-out problems, sampled as `evaluation` of the recipe says.

    Args:
        model: On the device to use.
        tokenizer: Its tokenizer.
        problems: See `heldout_problems`.
        recipe: Its `evaluation` and `seed`.
        config: Says what the recipe leaves open: the longest completion, the chat template's arguments.
        label: In front of the progress.
        quiet: Show no progress.
    """
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


def evaluate_start(
    run: RunDirectory,
    model: Any,
    tokenizer: Any,
    problems: list[Problem],
    recipe: Recipe,
    config: MCPOConfig,
    *,
    quiet: bool,
) -> None:
    """Evaluate the model that training starts from, and save it as the run's start.

    Args:
        run: The run directory.
        model: What the trainer is to be given: a model, which is moved to the device that it will train on, or a name,
            where the trainer loads it by itself (`model_init_kwargs`).
        tokenizer: Its tokenizer.
        problems: See `heldout_problems`.
        recipe: See `evaluate_heldout`.
        config: See `evaluate_heldout`.
        quiet: Show no progress.
    """
    if isinstance(model, str):
        model, tokenizer = load_model_and_tokenizer(model, dtype=recipe.dtype, device=_device(config))
    elif (device := _device(config)) is not None:
        model.to(device)
    label = "evaluate before"
    evaluate_heldout(model, tokenizer, problems, recipe, config, label=label, quiet=quiet).save(run.start_eval_file)


def evaluate_model_of(
    run: RunDirectory, problems: list[Problem], recipe: Recipe, config: MCPOConfig, *, quiet: bool
) -> EvaluationResult:
    """Evaluate the model that a run ended with, on one device, and save it as the run's evaluation.

    Where the recipe asks for it and there is none yet, the model that training started from is evaluated first.

    Raises:
        ModelError: A model cannot be loaded.
        RunError: An evaluation could not be written.
    """

    def evaluated(name: str, label: str) -> EvaluationResult:
        model, tokenizer = load_model_and_tokenizer(name, dtype=recipe.dtype, device=_device(config))
        return evaluate_heldout(model, tokenizer, problems, recipe, config, label=label, quiet=quiet)

    if recipe.evaluation.before and not run.start_eval_file.exists():
        evaluated(recipe.model, "evaluate before").save(run.start_eval_file)
    result = evaluated(str(run.path / "model"), "evaluate")
    result.save(run.eval_file)
    return result


def _device(config: MCPOConfig) -> torch.device | None:
    return None if config.use_cpu else torch.accelerator.current_accelerator()


def is_only_trained(run: RunDirectory) -> bool:
    """Whether several processes finished the run, which leave the evaluation to one."""
    trained = run.manifest_file.exists() and run.read_manifest().get("status") == "finished"
    return trained and (run.path / "model").is_dir() and not run.eval_file.exists()
