"""A run as the analysis sees it: whatever of it is there, and what is missing.

A comparison (`comparison.yaml`, `runs/<method>/seed_<n>/`, specialists one level deeper) counts as all of its runs.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mcpo_rl.analysis.geometry import load_probe
from mcpo_rl.errors import RunError
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.runs.probe import FOLDER, ProbeDirectory
from mcpo_rl.scores import EvaluationRecord

MOST_STEPS = 200
"""Steps whose rollouts are read, evenly over the run."""
MOST_READ = 10_000
"""Rollouts read of a run, in fewer steps where these are large: bounds time and memory."""
FEWEST_STEPS = 8
COMPARISON_FILES = ("comparison.json", "comparison.yaml")
"""Either marks the directory of a comparison: the result, or, while it is under way, the plan."""


@dataclass
class RunData:
    """One run, read. Every part may be missing."""

    name: str
    """Unique among the runs of a report."""
    path: Path
    method: str
    """`mcpo`, `grpo`, ... ; '' where nothing tells."""
    comparison: Path | None = None
    """The directory of the comparison that the run belongs to."""
    family: str = ""
    """Name of the runs that differ from this one in their seed alone; '' where nothing tells."""
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[RolloutBatch] = field(default_factory=list)
    """Ascending by step; at most `MOST_STEPS` of the kept ones."""
    kept_steps: int = 0
    """How many steps the run keeps rollouts of."""
    probe_set: str = ""
    """Fingerprint of its probe set; '' without one."""
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
        return any(key.startswith("contrastive/") for key in self.keys)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The names of all metrics that were logged."""
        return frozenset(key for row in self.metrics for key in row)

    @property
    def seed(self) -> int | None:
        """The seed of the training, where the manifest or the config names one."""
        for facts in (self.manifest, self.config):
            if isinstance(facts.get("seed"), int):
                return int(facts["seed"])
        return None

    @property
    def domains(self) -> list[str]:
        """The domains that any part of the run names, sorted."""
        names = {key.split("/")[1] for key in self.keys if key.startswith(("domain/", "forgetting/"))}
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


def load_runs(paths: Sequence[Path], *, most_steps: int = MOST_STEPS) -> list[RunData]:
    """Read the runs at `paths`; the directory of a comparison stands for all runs in it.

    Of the runs of a comparison only the first seed of each method brings its rollouts along: reading one seed's
    thousands of texts is possible, reading every seed's is not.

    Args:
        paths: Run directories and directories of comparisons.
        most_steps: Of how many steps, evenly over a run, the rollouts are read.

    Raises:
        RunError: No path, the same run twice, a path that is not a run directory, or a comparison without a run.
    """
    if not paths:
        raise RunError("Name at least one run directory.")
    found = [item for path in paths for item in _found(Path(path))]
    twice = [path for path, count in Counter(item.path for item in found).items() if count > 1]
    if twice:
        raise RunError(f"{twice[0]} is given more than once.")
    runs = [RunDirectory.open(item.path) for item in found]
    names = unique_names([item.path for item in found])
    if all(item.comparison for item in found) and len({item.comparison for item in found}) == 1:
        names = [str(item.path.relative_to(item.comparison / "runs")) for item in found if item.comparison]
    return [
        _load(run, item, name, most_steps if item.with_rollouts else 0)
        for run, item, name in zip(runs, found, names, strict=True)
    ]


def loaded(runs: Sequence[str | Path | RunData], *, most_steps: int = MOST_STEPS) -> list[RunData]:
    """Return `runs` as they are where they are read already; else read them (`load_runs`)."""
    known = [run for run in runs if isinstance(run, RunData)]
    if runs and len(known) == len(runs):
        return known
    return load_runs([Path(run) for run in runs if not isinstance(run, RunData)], most_steps=most_steps)


def is_comparison(path: Path) -> bool:
    """Return whether `path` is the directory of a comparison."""
    return any((path / name).is_file() for name in COMPARISON_FILES)


@dataclass(frozen=True)
class _Found:
    path: Path
    comparison: Path | None = None
    family: str = ""
    with_rollouts: bool = True


def _found(path: Path) -> list[_Found]:
    """Return the run at `path`, or those of the comparison there: methods in the order of the plan, then seeds."""
    resolved = path.resolve()
    if not is_comparison(resolved):
        return [_Found(resolved if resolved.exists() else path)]
    runs = resolved / "runs"
    manifests = [*runs.glob("*/seed_*/manifest.json"), *runs.glob("*/seed_*/*/manifest.json")]
    methods = _planned_methods(resolved)

    def place(folder: Path) -> tuple[Any, ...]:
        method, seed = folder.relative_to(runs).parts[:2]
        return methods.index(method) if method in methods else len(methods), method, _seed_of(seed), folder

    folders = sorted((manifest.parent for manifest in manifests), key=place)
    if not folders:
        raise RunError(f"{path} is a comparison in which no run has begun: there is no runs/<method>/seed_<n>/.")
    found = []
    shown: set[str] = set()
    for folder in folders:
        method, *rest = folder.relative_to(runs).parts
        whole = len(rest) == 1  # not one of several parts of a method, such as a specialist of one domain
        found.append(_Found(folder, resolved, method, with_rollouts=whole and method not in shown))
        if whole:
            shown.add(method)
    return found


def _planned_methods(folder: Path) -> list[str]:
    """Return the methods in the order of the plan; none where it is missing or damaged: then the runs tell."""
    try:
        plan = yaml.safe_load((folder / "comparison.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []
    methods = plan.get("methods") if isinstance(plan, dict) else None
    return [str(method) for method in methods] if isinstance(methods, list) else []


def _seed_of(name: str) -> tuple[int, str]:
    number = name.removeprefix("seed_")
    return (int(number), "") if number.isdigit() else (sys.maxsize, name)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest tails of `paths` that tell them apart: `mcpo` and `grpo`, or `0/mcpo` and `1/mcpo`."""
    depth = 1
    while True:
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names) or depth >= max(len(path.parts) for path in paths):
            return names
        depth += 1


def thin(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of `items`, evenly spread, with the first and the last (of a single one, the last)."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return [items[-1]] * most
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _load(run: RunDirectory, found: _Found, name: str, most_steps: int) -> RunData:
    remarks: list[str] = []
    facts = {}
    for what, read in (("manifest", run.read_manifest), ("config", run.read_config)):
        try:
            facts[what] = read()
        except RunError as error:
            facts[what] = {}
            remarks.append(str(error))
    data = RunData(
        name=name,
        path=run.path,
        method="",
        comparison=found.comparison,
        family=found.family,
        config=facts["config"],
        manifest=facts["manifest"],
        metrics=run.read_metrics(),
        remarks=remarks,
    )
    data.method = str(
        facts["manifest"].get("method") or ("mcpo" if data.is_contrastive else "grpo" if data.metrics else "")
    )
    if not any(key.startswith("probe/") for key in data.keys):
        data = _with_probe(data)
    try:
        if (probe := ProbeDirectory(run.path / FOLDER)).exists():
            data.probe_set = probe.read_set().fingerprint
    except RunError as error:
        data.remarks.append(f"Skipped: {error}")
    steps = run.rollout_steps()
    data.kept_steps = len(steps)
    for step in thin(steps, min(most_steps, _readable_steps(run, steps))):
        try:
            data.rollouts.extend(run.read_rollouts(step=step))
        except RunError as error:
            data.remarks.append(f"Skipped: {error}")
    data.start = _evaluation(run.start_eval_file, data.remarks)
    data.end = _evaluation(run.eval_file, data.remarks)
    data.remarks.extend(run.remarks)
    return data


def _with_probe(data: RunData) -> RunData:
    """Return the run with the geometry of its probe as metrics, where it was recorded after training."""
    probe = load_probe(data.path)
    if probe is None:
        return data
    rows = [
        {"step": step, **{f"probe/{name}": value for name, value in measured.items()}}
        for step, measured in probe.measured.items()
    ]
    return replace(data, metrics=[*data.metrics, *rows], remarks=[*data.remarks, *probe.remarks])


def _readable_steps(run: RunDirectory, steps: Sequence[int]) -> int:
    """Return how many steps hold `MOST_READ` rollouts, going by the last one."""
    try:
        count = run.rollout_count(steps[-1]) if steps else 0
    except RunError:  # said where it is read
        count = 0
    return max(FEWEST_STEPS, MOST_READ // max(1, count))


def _evaluation(path: Path, remarks: list[str]) -> EvaluationRecord | None:
    if not path.exists():
        return None
    try:
        return EvaluationRecord.read(path)
    except RunError as error:
        remarks.append(f"Skipped: {error}")
        return None
