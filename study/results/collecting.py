"""From run directories to `results/`: everything that the page and the figures rest on, small and without dates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mcpo_rl.cli.machine import cpu_name
from mcpo_rl.runs.files import write_text
from mcpo_rl.runs.manifest import plain
from study.results import dials, differences, geometry, parting, positives, seeds, spread, term
from study.results.files import read_json, without_paths, write_csv, write_json
from study.results.merging import Tables
from study.results.reading import Compared, in_order, read_comparisons, read_kept


def collect(runs: Path, results: Path) -> list[str]:
    """Bring `results/` up to date with the comparisons under `runs`, and return remarks for people.

    Comparisons that `results/` holds and `runs` does not have stay as they are, so parts of the study can be run on
    several machines. One whose folder in `results/` is removed leaves the tables at the next writing.

    Raises:
        RunError: No comparison under `runs` has a finished run, a file is damaged, or one could not be written.
    """
    measured, remarks = read_comparisons(runs)
    kept = read_kept(results, but=[compared.name for compared in measured])
    remarks += [f"{c.path} stays as it is: {runs} has no finished run of it." for c in kept]
    machine = _machine(measured, kept, results)
    for compared in measured:
        _copy(compared, runs, results / compared.name)
    _models(runs, results)
    write_json(results / "machine.json", machine)
    _write(Tables(results, measured, kept))
    return remarks


def _write(tables: Tables) -> None:
    every = tables.every
    labels = {(c.name, row["method"]): row["label"] for c in every for row in c.rows}
    tables.measure("seeds", seeds.SEED_COLUMNS, seeds.seed_rows)
    tables.derive("differences", differences.COLUMNS, (row for c in every for row in differences.difference_rows(c)))
    tables.derive("headline", differences.COLUMNS, differences.headline_rows(every))
    tables.derive("spread", spread.COLUMNS, (row for c in every for row in spread.spread_rows(c)))
    curves = {c.name: tables.results / c.name / "curves.csv" for c in every}
    tables.derive("parting", parting.COLUMNS, (row for c in every for row in parting.parting_rows(c, curves[c.name])))
    found = tables.measure("dials", dials.COLUMNS, dials.dial_rows)
    tables.summarize("dials_summary", dials.SUMMARY_COLUMNS, dials.summary_rows(found))
    found = tables.measure("positives", positives.COLUMNS, positives.positive_rows)
    tables.summarize("positives_summary", positives.SUMMARY_COLUMNS, positives.summary_rows(found, labels))
    found = tables.measure("term", term.COLUMNS, term.term_rows)
    tables.summarize("term_summary", term.SUMMARY_COLUMNS, term.summary_rows(found, labels))
    found = tables.measure("geometry", geometry.COLUMNS, geometry.geometry_rows)
    found = tables.summarize("geometry_summary", geometry.SUMMARY_COLUMNS, geometry.summary_rows(found))
    tables.derive("geometry_summary", geometry.SUMMARY_COLUMNS, geometry.adjusted(found))


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
    write_csv(folder / "curves.csv", seeds.CURVE_COLUMNS, seeds.curve_rows(compared))


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


def _machine(measured: Sequence[Compared], kept: Sequence[Compared], results: Path) -> dict[str, Any]:
    """Return with what the runs of each comparison were made: as their manifests say, and on which processor.

    The processor is this machine's: those of kept comparisons are the ones noted when they were written.
    """
    facts = read_json(results / "machine.json").get("comparisons", {})
    own = {c.name: facts[c.name] for c in kept if c.name in facts}
    own |= {c.name: {"cpu": cpu_name(), **_made_with(c)} for c in measured}
    return {"comparisons": {c.name: own[c.name] for c in in_order([*measured, *kept]) if c.name in own}}


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
