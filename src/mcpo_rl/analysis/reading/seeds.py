"""Runs that differ in their seed alone, drawn and spoken of as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.runs.manifest import plain

UNIMPORTANT = ("seed", "data_seed", "head_seed", "output_dir", "run_name", "report_to")
"""Keys of a config that do not make another experiment of a run."""


@dataclass(frozen=True)
class Family:
    """Runs of one method and one config; a single run is a family of its own."""

    name: str
    runs: tuple[RunData, ...]

    @property
    def many(self) -> bool:
        """Whether there is more than one run."""
        return len(self.runs) > 1

    @property
    def title(self) -> str:
        """The name, and of how many runs the curves are the mean."""
        return f"{self.name} (mean of {len(self.runs)} runs)" if self.many else self.name

    @property
    def is_contrastive(self) -> bool:
        """Whether any of the runs measured the contrastive term."""
        return any(run.is_contrastive for run in self.runs)

    @property
    def keys(self) -> frozenset[str]:
        """The names of all metrics that any of the runs logged."""
        return frozenset().union(*(run.keys for run in self.runs))

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Return the mean of `key` over the runs that logged it, at the steps that all of these share.

        So a seed that is still under way, or one that broke off, does not put a jump into the curve; and the
        specialists of a method, each of one domain, together give a curve of every domain.
        """
        found = [dict(zip(*run.series(key), strict=True)) for run in self.runs]
        found = [values for values in found if values]
        if not found:
            return [], []
        steps = sorted(set.intersection(*(set(values) for values in found)))
        return steps, [sum(values[step] for values in found) / len(found) for step in steps]


def families(runs: Sequence[RunData]) -> list[Family]:
    """Return `runs` as families, each at the place of its first run.

    Runs of a comparison belong together by method; other runs where their configs agree in all but the seed and where
    they write to. A run without a config stays alone.
    """
    groups: dict[str, list[RunData]] = {}
    for run in runs:
        groups.setdefault(_kind(run), []).append(run)
    found = []
    for members in groups.values():
        first = members[0]
        name = first.name if len(members) == 1 else first.family or first.method or first.name
        found.append((name, first.name, tuple(members)))
    taken = [name for name, _, _ in found]
    return [Family(name if taken.count(name) == 1 else first, members) for name, first, members in found]


def _kind(run: RunData) -> str:
    if run.comparison is not None:
        return f"{run.comparison}\n{run.family}"
    if not run.config or run.seed is None:
        return f"run\n{run.name}"
    config = {key: value for key, value in run.config.items() if key not in UNIMPORTANT}
    return json.dumps([run.method, plain(config)], sort_keys=True)
