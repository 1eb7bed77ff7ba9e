"""A run as the analysis sees it: whatever of it is there, and what is missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.scores import EvaluationRecord

MOST_STEPS = 40
"""Steps whose rollouts are read, evenly over the run: bounds time, memory and the page's size."""


@dataclass
class RunData:
    """One run, read. Every part may be missing."""

    name: str
    """Unique among the runs of a report."""
    path: Path
    method: str
    """`mcpo`, `grpo`, ... ; '' where nothing tells."""
    manifest: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[RolloutBatch] = field(default_factory=list)
    """Ascending by step; at most `MOST_STEPS` of the kept ones."""
    kept_steps: int = 0
    """How many steps the run keeps rollouts of."""
    start: EvaluationRecord | None = None
    end: EvaluationRecord | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """The last logged optimizer step; 0 where none was logged."""
        return max((row["step"] for row in self.metrics if isinstance(row.get("step"), int)), default=0)

    @property
    def is_contrastive(self) -> bool:
        """Whether the run measured the contrastive term."""
        return any(key.startswith("contrastive/") for row in self.metrics for key in row)

    @property
    def domains(self) -> list[str]:
        """The domains that any part of the run names, sorted."""
        names = {key.split("/")[1] for row in self.metrics for key in row if key.startswith("domain/")}
        names |= {domain for batch in self.rollouts for domain in batch.domains}
        for evaluation in (self.start, self.end):
            names |= set(evaluation.domains) if evaluation else set()
        return sorted(names)

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Return the steps at which `key` was logged as a finite number, and its values."""
        steps, values = [], []
        for row in self.metrics:
            value = row.get(key)
            if isinstance(row.get("step"), int) and isinstance(value, int | float) and math.isfinite(value):
                steps.append(row["step"])
                values.append(float(value))
        return steps, values


def load_runs(paths: Sequence[Path]) -> list[RunData]:
    """Read the runs at `paths`.

    Raises:
        RunError: No path, the same run twice, or a path that is not a run directory.
    """
    if not paths:
        raise RunError("Name at least one run directory.")
    resolved = [Path(path).resolve() for path in paths]
    twice = [path for path, count in Counter(resolved).items() if count > 1]
    if twice:
        raise RunError(f"{twice[0]} is given more than once.")
    runs = [RunDirectory.open(path) for path in paths]
    return [_load(run, name) for run, name in zip(runs, unique_names(resolved), strict=True)]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest tails of `paths` that tell them apart: `mcpo` and `grpo`, or `0/mcpo` and `1/mcpo`."""
    depth = 1
    while True:
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names) or depth >= max(len(path.parts) for path in paths):
            return names
        depth += 1


def thin(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of `items`, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _load(run: RunDirectory, name: str) -> RunData:
    remarks = []
    try:
        manifest = run.read_manifest()
    except RunError as error:
        manifest = {}
        remarks.append(str(error))
    data = RunData(name=name, path=run.path, method="", manifest=manifest, metrics=run.read_metrics(), remarks=remarks)
    data.method = str(manifest.get("method") or ("mcpo" if data.is_contrastive else "grpo" if data.metrics else ""))
    steps = run.rollout_steps()
    data.kept_steps = len(steps)
    for step in thin(steps, MOST_STEPS):
        try:
            data.rollouts.extend(run.read_rollouts(step=step))
        except RunError as error:
            remarks.append(f"Skipped: {error}")
    data.start = _evaluation(run.start_eval_file, remarks)
    data.end = _evaluation(run.eval_file, remarks)
    remarks.extend(run.remarks)
    return data


def _evaluation(path: Path, remarks: list[str]) -> EvaluationRecord | None:
    if not path.exists():
        return None
    try:
        return EvaluationRecord.read(path)
    except RunError as error:
        remarks.append(f"Skipped: {error}")
        return None
