"""Measurements as tables: aligned for a terminal, or Markdown for a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under column names."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """Return it with aligned columns."""
        lines = [self.columns, *self.rows] if any(self.columns) else self.rows
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        return "\n".join(
            [
                self.title,
                *(
                    "  " + "  ".join(_placed(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
                    for line in lines
                ),
            ]
        )

    def markdown(self) -> str:
        """Return it as a Markdown table under its title in bold."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        rows = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
        return "\n".join([f"**{self.title}**", "", *(f"| {row} |" for row in rows)])


def tables(name: str, facts: dict[str, Any]) -> list[Table]:
    """Return the tables of one benchmark: its single values in the first, then one for each list of records.

    Args:
        name: of the benchmark.
        facts: Its measurements. Nested mappings become rows with dotted names; a list of mappings with the same keys, a
            table of its own.
    """
    values = [[key, text] for key, text in _flat(facts)]
    found = [Table(title=name, columns=["", ""], rows=values)] if values else []
    for key, records in facts.items():
        if _are_records(records):
            rows = [[_cell(value) for value in record.values()] for record in records]
            found.append(Table(title=f"{name}: {key}", columns=list(records[0]), rows=rows))
    return found


def as_markdown(results: dict[str, dict[str, Any]]) -> str:
    """Return the tables of all benchmarks, by name, for a page."""
    return "\n\n".join(table.markdown() for name, facts in results.items() for table in tables(name, facts))


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Return nested measurements, but the lists of records, as rows of dotted name and value."""
    if isinstance(value, dict) and value:
        return [
            row
            for key, item in value.items()
            if not _are_records(item)
            for row in _flat(item, f"{name}.{key}" if name else str(key))
        ]
    return [(name, _cell(value))]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _placed(cell: str, width: int) -> str:
    """Put numbers to the right, words to the left."""
    return f"{cell:>{width}}" if cell[:1].isdigit() or cell[:2].lstrip("-").isdigit() else f"{cell:<{width}}"
