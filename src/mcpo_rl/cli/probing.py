"""The probe of a run: its set made before training, its states recorded by a callback; or both for a run on disk.

Imported inside the commands only: it loads torch and TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from mcpo_rl.analysis.geometry import record_geometry
from mcpo_rl.cli.progress import evaluation_progress
from mcpo_rl.config import ProbeOptions, Recipe
from mcpo_rl.data import load_problems
from mcpo_rl.errors import ConfigError
from mcpo_rl.evaluation import completions_path, evaluate
from mcpo_rl.evaluation.probing import candidates_in, candidates_of, choose_probe_set, problems_to_draw
from mcpo_rl.models import load_model_and_tokenizer
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.probe import FOLDER, ProbeDirectory, ProbeSet
from mcpo_rl.trainers.trl import MCPOConfig, ProbeCallback

LONGEST = 512
"""Tokens of a drawn completion where neither the recipe nor the trainer says."""


def check_probe(recipe: Recipe, run: RunDirectory) -> None:
    """Refuse a probe that several processes would have to draw completions for, before anything is loaded.

    Raises:
        ConfigError: With what to do instead.
        RunError: `probe.completions` cannot be read.
    """
    if recipe.probe is None or ProbeDirectory(run.path / FOLDER).exists():
        return
    if recipe.probe.completions is not None:
        candidates_in(recipe.probe.completions)
    elif PartialState().num_processes > 1:
        raise ConfigError(
            "`probe` on several processes needs `probe.completions`, since the model is in parts there. Make them on "
            f"one device: `mcpo-rl eval --model {recipe.model} --problems ... --k {recipe.probe.samples} --output "
            "base.json`, then set `probe.completions: base.json`. Or leave `probe` out and record it after training "
            "with `mcpo-rl probe RUN`."
        )


def probe_callbacks(
    recipe: Recipe, run: RunDirectory, model: Any, tokenizer: Any, config: MCPOConfig, *, quiet: bool
) -> list[ProbeCallback]:
    """Make the probe set of a run that has none yet, and return what records its states while training.

    Args:
        recipe: Its `probe` says what is chosen; without one there is no callback.
        run: Where the probe goes.
        model: The one that training starts from, with its weights of before; or its name, where the trainer loads it.
        tokenizer: Its tokenizer.
        config: Says what the recipe leaves open: the longest completion, the chat template's arguments.
        quiet: Show no progress.

    Raises:
        ProblemError: Problems that cannot be read, or completions of which none can be chosen.
        RunError: `probe.completions` cannot be read, or the set cannot be written.
    """
    if recipe.probe is None:
        return []
    directory = ProbeDirectory(run.path / FOLDER)
    if PartialState().is_main_process and not directory.exists():
        options, arguments = recipe.probe, config.chat_template_kwargs
        before = completions_path(run.start_eval_file)
        if options.completions is not None:
            made = set_from_file(Path(options.completions), options, arguments)
        elif options.problems is None and before.is_file():
            made = set_from_file(before, options, arguments, origin=recipe.model)
        else:
            if isinstance(model, str):
                model, tokenizer = load_model_and_tokenizer(model, dtype=recipe.dtype)
            if not config.use_cpu and (device := torch.accelerator.current_accelerator()) is not None:
                model.to(device)  # where the trainer would take it next
            made = draw_set(
                model,
                tokenizer,
                options.problems or recipe.eval_problems,
                options,
                chat_template_kwargs=arguments,
                max_new_tokens=recipe.evaluation.max_new_tokens or config.max_completion_length or LONGEST,
                temperature=recipe.evaluation.temperature,
                batch_size=recipe.evaluation.batch_size,
                seed=recipe.seed,
                origin=recipe.model,
                quiet=quiet,
            )
        directory.write_set(made)
    return [ProbeCallback(directory, record_geometry)]


def set_from_file(
    path: Path, options: ProbeOptions, chat_template_kwargs: Mapping[str, Any] | None, *, origin: str | None = None
) -> ProbeSet:
    """Choose a probe set from the completions of an evaluation on disk.

    Args:
        path: As for `candidates_in`.
        options: `per_domain` is read.
        chat_template_kwargs: With which the prompts are put to the model.
        origin: Whose completions they are; None names the file.

    Raises:
        ProblemError: None of them can be chosen.
        RunError: They cannot be read.
    """
    return choose_probe_set(
        candidates_in(path),
        per_domain=options.per_domain,
        chat_template_kwargs=chat_template_kwargs,
        origin=origin or str(path),
    )


def draw_set(
    model: Any,
    tokenizer: Any,
    sources: Sequence[dict[str, Any]],
    options: ProbeOptions,
    *,
    chat_template_kwargs: Mapping[str, Any] | None,
    max_new_tokens: int,
    temperature: float,
    batch_size: int,
    seed: int,
    origin: str,
    quiet: bool,
) -> ProbeSet:
    """Let `model` answer problems, judge what it says and choose a probe set from that.

    Args:
        model: On the device to use.
        tokenizer: Its tokenizer.
        sources: As in a recipe's `problems`.
        options: `per_domain` and `samples` are read.
        chat_template_kwargs: With which the prompts are put to the model.
        max_new_tokens: Where a completion is cut.
        temperature: Of sampling; 1 is taken for 0, at which several samples would be the same.
        batch_size: Completions generated at once.
        seed: Of the sampling.
        origin: The model's name.
        quiet: Show no progress.

    Raises:
        ProblemError: Problems that cannot be read, or completions of which none can be chosen.
    """
    problems = [problem for entry in sources for problem in load_problems(entry)]
    with evaluation_progress("probe", quiet=quiet) as progress:
        result = evaluate(
            model,
            tokenizer,
            problems_to_draw(problems, per_domain=options.per_domain, samples=options.samples),
            samples=options.samples,
            temperature=temperature or 1.0,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            seed=seed,
            chat_template_kwargs=chat_template_kwargs,
            progress=progress,
        )
    return choose_probe_set(
        candidates_of(result), per_domain=options.per_domain, chat_template_kwargs=chat_template_kwargs, origin=origin
    )
