"""The files of `results/` as the page and the figures take them, and numbers as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mcpo_rl.data.procedural.conventions import SOURCE_DOMAIN
from study.plan import ROOM
from study.results.differences import ACCURACY
from study.results.files import read_csv, read_json
from study.results.reading import ORDER

NOTHING = "–"


@dataclass(frozen=True)
class Results:
    """What `results/` holds; nothing is computed anew."""

    folder: Path

    @cached_property
    def names(self) -> list[str]:
        """The comparisons, in the order of the tables."""
        found = sorted(file.parent.name for file in self.folder.glob("*/comparison.json"))
        return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    @cached_property
    def testbed(self) -> list[str]:
        """The comparisons at a setting of the dials, the sweep left out."""
        return [name for name in self.names if name in ("shared", "middle", "conflict", "apart")]

    def comparison(self, name: str) -> Mapping[str, Any]:
        """Return a comparison.json; empty where there is none."""
        found: Mapping[str, Any] = read_json(self.folder / name / "comparison.json")
        return found

    @property
    def with_room(self) -> list[str]:
        """The settings of the dials with the recipe that leaves room in every domain."""
        return [name for name in self.names if name in ROOM]

    @property
    def on_the_testbed(self) -> list[str]:
        """The settings of the dials, with both recipes, and those that were run once more on fresh seeds."""
        fresh = [name for name in self.names if name in ("fresh", "fresh-conflict")]
        return [*self.testbed, *fresh, *self.with_room]

    def group(self, of: str) -> list[str]:
        """Return the comparisons of a name: `testbed`, `room`, or that of one of them."""
        return {"testbed": self.testbed, "room": self.with_room}.get(of, [of])

    def rows(self, name: str, **equal: Any) -> list[dict[str, Any]]:
        """Return the rows of `NAME.csv` whose cells equal those given."""
        return [row for row in self._tables(name) if all(row.get(key) == value for key, value in equal.items())]

    def row(self, name: str, **equal: Any) -> dict[str, Any] | None:
        """Return the first of these rows; None where there is none."""
        return next(iter(self.rows(name, **equal)), None)

    @cached_property
    def domains(self) -> list[str]:
        """The domains of the testbed, the one where care is a habit first."""
        found = self.comparison(self.testbed[0])["domains"] if self.testbed else []
        return sorted(found, key=lambda name: (name != SOURCE_DOMAIN, name))

    def method(self, name: str, method: str) -> Mapping[str, Any] | None:
        """Return the row of a method in a comparison.json; None where no seed of it has finished."""
        rows = self.comparison(name).get("rows", [])
        return next((row for row in rows if row["method"] == method and row["seeds"]), None)

    def difference(self, name: str, method: str, minus: str, domain: str, quantity: str = ACCURACY) -> Any:
        """Return a row of `differences.csv`; None where there is none."""
        key = {"comparison": name, "method": method, "minus": minus, "quantity": quantity, "domain": domain}
        return self.row("differences", **key)

    def dial(self, setting: str, measure: str, source: str, target: str, minus: str | None = None) -> Any:
        """Return a row of `dials_summary.csv` over all families; None where there is none."""
        key = {"comparison": setting, "minus": minus, "measure": measure, "from": source, "to": target, "family": None}
        return self.row("dials_summary", **key)

    @cached_property
    def _read(self) -> dict[str, list[dict[str, Any]]]:
        return {}

    def _tables(self, name: str) -> list[dict[str, Any]]:
        if name not in self._read:
            self._read[name] = read_csv(self.folder / f"{name}.csv")
        return self._read[name]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table in Markdown, or a sentence where it has no rows.

    Args:
        head: Names of the columns.
        rows: Their cells.
        texts: So many columns hold words and stand to the left; the others to the right.
    """
    if not rows:
        return "There are no runs of this yet."
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + " --- |" * texts + " ---: |" * (len(head) - texts), *lines[1:]])


def share(value: float | None) -> str:
    """Return a number between 0 and 1 with three digits."""
    return NOTHING if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign; one that rounds to 0 has none."""
    if value is None:
        return NOTHING
    return f"{value:+.3f}" if round(value, 3) else "0.000"


def estimate(row: Mapping[str, Any] | None, *, plus: bool = False, value: str = "value") -> str:
    """Return `value [low, high]` of a row with these keys; the interval is left out where it has none.

    Args:
        row: With `value`, `low` and `high`, and perhaps `clear`, which puts a `*` behind.
        plus: Write the sign of a difference.
        value: The key of the value; with `excess` the interval is `excess_low`, `excess_high`.
    """
    if row is None or row.get(value) is None:
        return NOTHING
    write = signed if plus else share
    prefix = "" if value == "value" else f"{value}_"
    low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
    over_problems = row.get("over") == "problems"
    if low is None or high is None:
        return write(row[value])
    interval = f"({write(low)}, {write(high)})" if over_problems else f"[{write(low)}, {write(high)}]"
    return f"{write(row[value])} {interval}{'*' if row.get('clear') else ''}"


def probability(p: float | None) -> str:
    """Return a p-value."""
    return NOTHING if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def listed(items: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
