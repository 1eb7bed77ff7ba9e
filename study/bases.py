"""The base models of the settings: one skill, and for each setting of the dials its habit, openings and probe set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mcpo_rl.config import load_recipe
from mcpo_rl.data.sources import read_source
from mcpo_rl.runs.files import write_text
from mcpo_rl.types import Problem
from study.commands import run_side_by_side
from study.plan import HERE, SETTINGS

SKILL = HERE / "skill"
"""The model that knows how to answer with care behind any opening: `manifest.json` says how it was made."""
HABIT_STEPS = 120
RECIPE = HERE / "testbed.yaml"


def make_bases(settings: Sequence[str], models: Path, *, jobs: int) -> None:
    """Make the base models that are missing, and for each the rollouts whose representations its runs follow.

    Args:
        settings: Names of `SETTINGS`.
        models: Where they go, each in a directory of its name.
        jobs: Processes at a time.

    Raises:
        CommandFailed: One could not be made.
    """
    names = list(dict.fromkeys(settings))
    missing = [name for name in names if not (models / name / "manifest.json").is_file()]
    run_side_by_side({name: _cold_start(name, models / name) for name in missing}, models, jobs=jobs)
    missing = [name for name in names if not probe_set(models, name).is_file()]
    if missing:
        problems = models / "heldout.jsonl"
        _write_heldout(problems)
        words = {f"{name}-probe": _evaluation(name, models, problems) for name in missing}
        run_side_by_side(words, models, jobs=jobs)


def probe_set(models: Path, name: str) -> Path:
    """Return where the evaluation of a base model lies whose rollouts are the probe set of its setting."""
    return models / f"{name}-probe.json"


def _cold_start(name: str, output: Path) -> list[str]:
    dials = SETTINGS[name]
    return [
        "coldstart", "--output", str(output), "--start", str(SKILL), "--skill-steps", "0", "--habit-steps",
        str(HABIT_STEPS), "--shared", f"{dials.shared:g}", "--conflict", f"{dials.conflict:g}", "--eval-problems", "80",
    ]  # fmt: skip


def _evaluation(name: str, models: Path, problems: Path) -> list[str]:
    options = load_recipe(RECIPE, {})
    length = options.training["max_completion_length"]
    return [
        "eval", "--model", str(models / name), "--problems", str(problems), "--k", "4", "--batch-size", "240",
        "--max-new-tokens", str(length), "--output", str(probe_set(models, name)),
    ]  # fmt: skip


def _write_heldout(file: Path) -> None:
    """Write the held-out problems of the recipe as JSON lines."""
    rows = [
        json.dumps({key: value for key, value in asdict(problem).items() if value is not None})
        for entry in load_recipe(RECIPE, {}).eval_problems
        for problem in read_source(entry).rows()
        if isinstance(problem, Problem)
    ]
    write_text(file, "\n".join(rows) + "\n")
