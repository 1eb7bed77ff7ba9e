"""One number of a table with its interval, and how it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcpo_rl.comparison.seeds import PairedEstimate, SeedEstimate

NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    value: str
    interval: str = ""
    mark: bool = False
    """A clear difference."""
    problems: bool = False
    """The interval is over problems, not over seeds."""


Grid = list[list[Cell]]
"""Rows, the head first."""


def cell_of(estimate: SeedEstimate, *, signed: bool = False) -> Cell:
    """Return an estimate as it stands in a table.

    Args:
        estimate: NaN where there is none.
        signed: Write the `+` of a difference.
    """
    if math.isnan(estimate.value):
        return Cell(NOTHING)
    sign = "+" if signed else ""
    value = f"{estimate.value:{sign}.3f}"
    if estimate.over is None:
        return Cell(value)
    interval = f"{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}"
    mark = isinstance(estimate, PairedEstimate) and estimate.clear
    return Cell(value, interval, mark=mark, problems=estimate.over == "problems")


def plain_text(cell: Cell) -> str:
    """Return a cell with its interval and its mark, in one line."""
    if not cell.interval:
        return cell.value
    interval = f"({cell.interval})" if cell.problems else f"[{cell.interval}]"
    return f"{cell.value} {interval}{'*' if cell.mark else ''}"


_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


def latex_source(cell: Cell) -> str:
    """Return the same as LaTeX."""
    value = cell.value.translate(_LATEX)
    if value[:1] in ("+", "-") and len(value) > 1:
        value = f"${value}$"
    if not cell.interval:
        return value
    interval = f"({cell.interval})" if cell.problems else f"[{cell.interval}]"
    return rf"{value}{'$^*$' if cell.mark else ''} {{\scriptsize ${interval}$}}"
