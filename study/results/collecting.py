"""From run directories to `results/`: everything that the page and the figures rest on, small and without dates."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mcpo_rl.cli.machine import cpu_name
from mcpo_rl.runs.files import write_text
from mcpo_rl.runs.manifest import plain
from study.results import dials, differences, geometry, positives, seeds, spread, term
from study.results.files import Row, without_paths, write_csv, write_json
from study.results.reading import Compared, read_comparisons

SHORT_DIGITS = 4
"""Digits in the long tables: curves, and what is measured at every step."""


def collect(runs: Path, results: Path) -> list[str]:
    """Write `results/` from the comparisons under `runs`, and return remarks for people.

    What `results/` held of comparisons that `runs` has not any more is removed.

    Raises:
        RunError: No comparison has a finished run, a file is damaged, or one could not be written.
    """
    comparisons, remarks = read_comparisons(runs)
    names = {compared.name for compared in comparisons}
    for folder in sorted(file.parent for file in results.glob("*/comparison.json")):
        if folder.name not in names:
            shutil.rmtree(folder)
            remarks.append(f"{folder} is removed: {runs} has no finished run of it.")
    for compared in comparisons:
        _copy(compared, runs, results / compared.name)
    _models(runs, results)
    write_json(results / "machine.json", _machine(comparisons))
    _tables(comparisons, results)
    return remarks


def _tables(comparisons: Sequence[Compared], results: Path) -> None:
    labels = {(c.name, row["method"]): row["label"] for c in comparisons for row in c.rows}
    _write(results, "seeds", seeds.SEED_COLUMNS, (row for c in comparisons for row in seeds.seed_rows(c)))
    _write(
        results, "differences", differences.COLUMNS, (r for c in comparisons for r in differences.difference_rows(c))
    )
    _write(results, "headline", differences.COLUMNS, differences.headline_rows(comparisons))
    _write(results, "spread", spread.COLUMNS, (row for c in comparisons for row in spread.spread_rows(c)))
    found = [row for c in comparisons if c.dials is not None for row in dials.dial_rows(c)]
    _write(results, "dials", dials.COLUMNS, found, digits=SHORT_DIGITS)
    _write(results, "dials_summary", dials.SUMMARY_COLUMNS, dials.summary_rows(found))
    found = [row for c in comparisons for row in positives.positive_rows(c, positives.families_of(c))]
    _write(results, "positives", positives.COLUMNS, found, digits=SHORT_DIGITS)
    _write(results, "positives_summary", positives.SUMMARY_COLUMNS, positives.summary_rows(found, labels))
    found = [row for c in comparisons for row in term.term_rows(c)]
    _write(results, "term", term.COLUMNS, found, digits=SHORT_DIGITS)
    _write(results, "term_summary", term.SUMMARY_COLUMNS, term.summary_rows(found, labels))
    found = [row for c in comparisons for row in geometry.geometry_rows(c)]
    _write(results, "geometry", geometry.COLUMNS, found, digits=SHORT_DIGITS)
    _write(results, "geometry_summary", geometry.SUMMARY_COLUMNS, geometry.summary_rows(found))


def _write(results: Path, name: str, columns: Sequence[str], rows: Iterable[Row], **more: int) -> None:
    write_csv(results / f"{name}.csv", columns, rows, **more)


def _copy(compared: Compared, runs: Path, folder: Path) -> None:
    """Write what a comparison is and what came out, without the machine's paths, and its learning curves."""
    data = {key: value for key, value in compared.data.items() if key != "created"}
    write_json(folder / "comparison.json", _clean(data, runs))
    facts = {"recipe": compared.recipe, "variants": compared.variants}
    clean = _clean(plain({name: value for name, value in facts.items() if value}), runs)
    write_text(folder / "comparison.yaml", yaml.safe_dump(clean, sort_keys=False, allow_unicode=True))
    tables = compared.path / "comparison.md"
    if tables.is_file():
        write_text(folder / "comparison.md", without_paths(tables.read_text(encoding="utf-8"), runs))
    write_csv(folder / "curves.csv", seeds.CURVE_COLUMNS, seeds.curve_rows(compared), digits=SHORT_DIGITS)


def _models(runs: Path, results: Path) -> None:
    """Write how each base model of the testbed was made and what it can do."""
    for file in sorted(runs.glob("models/*/manifest.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: value for name, value in facts.items() if name not in ("created", "git")}
        write_json(results / "models" / f"{file.parent.name}.json", _clean(kept, runs))


def _clean(value: Any, runs: Path) -> Any:
    if isinstance(value, str):
        return without_paths(value, runs)
    if isinstance(value, Mapping):
        return {key: _clean(item, runs) for key, item in value.items()}
    return [_clean(item, runs) for item in value] if isinstance(value, list) else value


def _machine(comparisons: Sequence[Compared]) -> dict[str, Any]:
    """Return with what the runs of each comparison were made, as their manifests say, and this machine's processor."""
    return {"cpu": cpu_name(), "comparisons": {c.name: _made_with(c) for c in comparisons}}


def _made_with(compared: Compared) -> dict[str, Any]:
    manifests = [run.read_manifest() for row in compared.rows for _, _, run in compared.runs(row["method"])]
    packages: dict[str, set[str]] = {}
    for facts in manifests:
        for name, version in (facts.get("packages") or {}).items():
            packages.setdefault(name, set()).add(version)
    system = {
        f"{str(facts.get('platform', '')).split('-')[0]} {facts.get('machine', '')}".strip() for facts in manifests
    }
    return {
        "runs": len(manifests),
        "cores": sorted({facts["cpus"] for facts in manifests if facts.get("cpus")}),
        "system": sorted(system),
        "python": sorted({facts["python"] for facts in manifests if facts.get("python")}),
        "packages": {name: ", ".join(sorted(versions)) for name, versions in sorted(packages.items())},
    }
