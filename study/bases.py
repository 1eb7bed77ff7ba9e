"""The base models: one skill, and for each setting of the dials its habit, openings and probe set; and SmolLM2's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from mcpo_rl.config import load_recipe
from mcpo_rl.data.procedural.conventions import FAMILIES_USED
from mcpo_rl.data.sources import read_source
from mcpo_rl.runs.files import write_text
from mcpo_rl.types import Problem
from study.commands import run_side_by_side
from study.plan import HERE, SETTINGS

SKILL = HERE / "skill"
"""The model that knows how to answer with care behind any opening: `manifest.json` says how it was made."""
HABIT_STEPS = 120
RECIPE = HERE / "testbed.yaml"


SMOLLM2 = (
    "--start", "builtin:smollm2-135m", "--lora-rank", "32", "--families", ",".join(chain(*FAMILIES_USED.values())),
    "--batch-size", "12", "--skill-steps", "40", "--habit-steps", "20", "--learning-rate", "1e-3",
    "--eval-problems", "12", "--eval-samples", "3",
)  # fmt: skip
"""SmolLM2's cold start: without one, its answers are seldom in a form that a verifier can read."""


def make_bases(names: Sequence[str], models: Path, *, jobs: int) -> None:
    """Make the base models that are missing, and for each setting the rollouts whose representations its runs follow.

    Args:
        names: Names of `SETTINGS`, or `smollm2`.
        models: Where they go, each in a directory of its name.
        jobs: Processes at a time.

    Raises:
        CommandFailed: One could not be made.
    """
    names = list(dict.fromkeys(names))
    missing = [name for name in names if not (models / name / "manifest.json").is_file()]
    run_side_by_side({name: _cold_start(name, models / name) for name in missing}, models, jobs=jobs)
    missing = [name for name in names if name in SETTINGS and not probe_set(models, name).is_file()]
    if missing:
        problems = models / "heldout.jsonl"
        _write_heldout(problems)
        words = {f"{name}-probe": _evaluation(name, models, problems) for name in missing}
        run_side_by_side(words, models, jobs=jobs)


def probe_set(models: Path, name: str) -> Path:
    """Return where the evaluation of a base model lies whose rollouts are the probe set of its setting."""
    return models / f"{name}-probe.json"


def _cold_start(name: str, output: Path) -> list[str]:
    words = ["coldstart", "--output", str(output)]
    if name not in SETTINGS:
        return [*words, *SMOLLM2]
    dials = SETTINGS[name]
    return [
        *words, "--start", str(SKILL), "--skill-steps", "0", "--habit-steps",
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
