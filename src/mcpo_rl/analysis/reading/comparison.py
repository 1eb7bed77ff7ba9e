"""A comparison of methods over seeds, as its comparison.json has it.

The numbers are taken as they stand there; nothing is computed anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcpo_rl.analysis.sections.palette import ordered
from mcpo_rl.errors import RunError

FORMAT = 1
"""Of the comparison.json that this reads."""


@dataclass(frozen=True)
class Value:
    """A mean over seeds with its 95% interval; NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    over: str = ""
    """What the interval is over: `seeds`, `problems` or ''."""
    seeds: Mapping[str, float] = field(default_factory=dict)
    clear: bool = False
    """Of a difference: it can be told from 0."""

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return math.isfinite(self.value)


@dataclass(frozen=True)
class MethodRow:
    """One method."""

    method: str
    label: str
    seeds: tuple[int, ...]
    missing: Mapping[str, str]
    accuracy: Mapping[str, Value]
    mean: Value
    mean_gain: Value
    worst_gain: Value
    worst_domain: str
    over_single: Value
    against: Value
    against_domains: Mapping[str, Value]
    cost: Mapping[str, float]


@dataclass(frozen=True)
class ComparisonData:
    """One comparison.json."""

    path: Path
    model: str
    reference: str
    seeds: tuple[int, ...]
    domains: tuple[str, ...]
    budget: Mapping[str, Any]
    start: Mapping[str, Value]
    start_mean: Value
    rows: tuple[MethodRow, ...]
    remarks: tuple[str, ...]

    def label(self, method: str) -> str:
        """Return the name of a method as it stands in tables."""
        return next((row.label for row in self.rows if row.method == method), method)


def read_comparison(folder: Path) -> ComparisonData:
    """Read the comparison.json in `folder`.

    Raises:
        RunError: There is none yet, or it is damaged or of another format.
    """
    path = folder / "comparison.json"
    if not path.is_file():
        raise RunError(
            f"{folder} has no comparison.json: the comparison is under way or was broken off. `mcpo-rl compare` with "
            "the same arguments goes on with it."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise RunError(f"{path} has format {data['format']}, this version reads format {FORMAT}.")
        return ComparisonData(
            path=folder,
            model=str(data.get("model", "")),
            reference=str(data.get("reference") or ""),
            seeds=tuple(int(seed) for seed in data["seeds"]),
            domains=tuple(ordered(data["domains"])),
            budget=dict(data.get("budget") or {}),
            start=_values(data["start"]["accuracy"]),
            start_mean=_value(data["start"]["mean"]),
            rows=tuple(_row(row) for row in data["rows"]),
            remarks=tuple(str(remark) for remark in data.get("remarks", [])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read as a comparison ({error!r}).") from error


def _row(row: Mapping[str, Any]) -> MethodRow:
    single, against = row.get("over_single") or {}, row.get("against") or {}
    return MethodRow(
        method=str(row["method"]),
        label=str(row.get("label") or row["method"]),
        seeds=tuple(int(seed) for seed in row.get("seeds", [])),
        missing={str(seed): str(why) for seed, why in (row.get("missing") or {}).items()},
        accuracy=_values(row.get("accuracy")),
        mean=_value(row.get("mean")),
        mean_gain=_value(row.get("mean_gain")),
        worst_gain=_value(row.get("worst_domain_gain")),
        worst_domain=str(row.get("worst_domain") or ""),
        over_single=_value(single.get("mean")),
        against=_value(against.get("mean")),
        against_domains=_values(against.get("domains")),
        cost={k: float(v) for k, v in (row.get("cost") or {}).items() if isinstance(v, int | float)},
    )


def _values(found: Mapping[str, Any] | None) -> dict[str, Value]:
    return {str(name): _value(item) for name, item in (found or {}).items()}


def _value(found: Mapping[str, Any] | None) -> Value:
    found = found or {}
    numbers = {name: math.nan if found.get(name) is None else float(found[name]) for name in ("value", "low", "high")}
    seeds = {str(seed): float(x) for seed, x in (found.get("seeds") or {}).items() if x is not None}
    return Value(**numbers, over=str(found.get("over") or ""), seeds=seeds, clear=bool(found.get("clear", False)))
