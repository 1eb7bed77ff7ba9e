"""The base models of the settings: one skill, and for each setting of the dials its own habit and openings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from study.commands import run_side_by_side
from study.plan import HERE, SETTINGS

SKILL = HERE / "skill"
"""The model that knows how to answer with care behind any opening: `manifest.json` says how it was made."""
HABIT_STEPS = 120


def make_bases(settings: Sequence[str], models: Path, *, jobs: int) -> None:
    """Make the base models that are missing, `jobs` at a time.

    Args:
        settings: Names of `SETTINGS`.
        models: Where they go, each in a directory of its name.
        jobs: Processes at a time.
    """
    commands = {}
    for name in dict.fromkeys(settings):
        if (models / name / "manifest.json").is_file():
            continue
        dials = SETTINGS[name]
        commands[name] = [
            "coldstart", "--output", str(models / name), "--start", str(SKILL), "--skill-steps", "0",
            "--habit-steps", str(HABIT_STEPS), "--shared", f"{dials.shared:g}", "--conflict", f"{dials.conflict:g}",
            "--eval-problems", "80",
        ]  # fmt: skip
    run_side_by_side(commands, models, jobs=jobs)


def start_accuracy(models: Path, name: str) -> dict[str, float]:
    """Return the sampled accuracy of a base model by domain, as its manifest has it."""
    manifest = json.loads((models / name / "manifest.json").read_text(encoding="utf-8"))
    return {domain: score["accuracy"] for domain, score in manifest["sampled_accuracy"]["domains"].items()}
