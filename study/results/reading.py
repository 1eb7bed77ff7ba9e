"""The comparisons of the study: comparison.json, the recipe, and the run directories that they name."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcpo_rl.comparison.plan import read_plan
from mcpo_rl.config import parse_yaml
from mcpo_rl.data.procedural.conventions import Dials
from mcpo_rl.errors import ConfigError, RunError
from mcpo_rl.runs import RunDirectory
from study.plan import ROOM, SETTINGS

ORDER = ("shared", "middle", "conflict", "apart", *ROOM, "sweep", "fresh", "fresh-conflict", "smollm2")
"""Of the comparisons in every table; others follow by name."""
MEAN = "mean"
"""In the place of a domain: the mean over the domains."""


@dataclass(frozen=True)
class Compared:
    """One directory of `mcpo-rl compare`, with its result."""

    name: str
    path: Path
    data: Mapping[str, Any]
    """comparison.json."""
    recipe: Mapping[str, Any]
    variants: Mapping[str, Any]

    @property
    def domains(self) -> list[str]:
        """Those that are trained on and evaluated."""
        return list(self.data["domains"])

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The methods that have finished at some seed."""
        return [row for row in self.data["rows"] if row["seeds"]]

    @cached_property
    def dials(self) -> Dials | None:
        """The dials of the base model, as its manifest has them; None where it was not made with dials."""
        model = Path(str(self.recipe["model"]))
        manifest = self.path.parent / "models" / model.name / "manifest.json"
        if not manifest.is_file():
            return SETTINGS.get(model.name)
        dials = json.loads(manifest.read_text(encoding="utf-8"))["config"].get("dials")
        return None if dials is None else Dials(**dials)

    def row(self, method: str) -> Mapping[str, Any] | None:
        """Return a method's row; None where no seed of it has finished."""
        return next((row for row in self.rows if row["method"] == method), None)

    def runs(self, method: str) -> Iterator[tuple[int, str, RunDirectory]]:
        """Yield seed, domain ('' for all) and run of a method: those whose evaluation counts."""
        row = self.row(method)
        for seed, places in sorted((row or {"runs": {}})["runs"].items(), key=lambda item: int(item[0])):
            for domain, place in sorted(places.items()):
                yield int(seed), domain, RunDirectory(self.path / place)

    def every_run(self, method: str, seed: int) -> list[tuple[str, RunDirectory]]:
        """Return the training runs of a method at a seed with their domain ('' for all), stages included."""
        folder = self.path / "runs" / method / f"seed_{seed}"
        found = sorted(file.parent for file in folder.rglob("metrics.jsonl"))
        return [("" if run == folder else run.name, RunDirectory(run)) for run in found]


def read_comparisons(runs: Path) -> tuple[list[Compared], list[str]]:
    """Return the comparisons under `runs` that have a result, in the order of the tables, and remarks on the others.

    Raises:
        RunError: There is none, or a file is damaged.
    """
    found, remarks = [], []
    for folder in sorted(file.parent for file in runs.glob("*/comparison.yaml")):
        if not (folder / "comparison.json").is_file():
            remarks.append(
                f"{folder} has no comparison.json: it is under way or was broken off. `mcpo-rl compare {folder} "
                "--plan` makes one of what has finished."
            )
            continue
        found.append(_read(folder))
    if not any(compared.rows for compared in found):
        said = "".join(f" {remark}" for remark in remarks)
        raise RunError(f"{runs} holds no comparison with a finished run; `python -m study` makes them.{said}")
    return in_order([compared for compared in found if compared.rows]), remarks


def read_kept(results: Path, *, but: Collection[str]) -> list[Compared]:
    """Return the comparisons in `results/` with other names than those given; their runs are not there.

    Raises:
        RunError: A file is damaged.
    """
    folders = sorted(file.parent for file in results.glob("*/comparison.json"))
    return in_order([_read_kept(folder) for folder in folders if folder.name not in but])


def in_order(comparisons: Sequence[Compared]) -> list[Compared]:
    """Return comparisons in the order of every table."""
    names = [compared.name for compared in comparisons]
    place = {name: ORDER.index(name) if name in ORDER else len(ORDER) for name in names}
    return sorted(comparisons, key=lambda compared: (place[compared.name], compared.name))


def held(comparisons: Sequence[Compared], *names: str) -> list[Compared]:
    """Return the named comparisons that there are, in the order of the names."""
    by_name = {compared.name: compared for compared in comparisons}
    return [by_name[name] for name in names if name in by_name]


def _read(folder: Path) -> Compared:
    mend = f"`mcpo-rl compare {folder} --plan` writes it anew."
    data = _result(folder, mend)
    plan = read_plan(folder)
    if plan is None:
        raise RunError(f"{folder} has no comparison.yaml. {mend}")
    return Compared(name=folder.name, path=folder, data=data, recipe=plan.recipe, variants=plan.variants)


def _read_kept(folder: Path) -> Compared:
    mend = "Restore it, or remove its folder: the comparison then leaves the tables."
    data = _result(folder, mend)
    file = folder / "comparison.yaml"
    try:
        facts = parse_yaml(file.read_text(encoding="utf-8"), where=str(file))
        return Compared(folder.name, folder, data, recipe=facts["recipe"], variants=facts.get("variants", {}))
    except (OSError, ConfigError, KeyError, TypeError) as error:
        raise RunError(f"{file} is damaged ({error}). {mend}") from error


def _result(folder: Path, mend: str) -> Mapping[str, Any]:
    file = folder / "comparison.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error}). {mend}") from error
    if not isinstance(data, dict) or data.get("format") != 1:
        raise RunError(f"{file} is not the result of a comparison. {mend}")
    return data
