"""What the report is made of: figures as plain data for plotly.js, tables, and how to read them.

A section of the report is a function that returns a `Section`; how it is laid out on a page is the page's business.
All text is plain text: the page escapes it. Names that reach plotly.js inside a figure are escaped where the figure is
made, since plotly.js reads a subset of HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Panel:
    """One figure with what stands above it; the page's theme colours ground, text and grid."""

    title: str
    figure: dict[str, Any]
    """`data` and `layout` of plotly.js."""
    label: str
    """What the figure shows, in words, for those who do not see it."""
    colour: str = ""
    """Of the mark before the title: a domain's colour."""
    height: int = 230
    reading: str = ""
    """How to read this figure, where it is not the group's."""


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column holds the names of the rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the cells to emphasize."""
    caption: str = ""
    """What the table shows, in words."""


@dataclass(frozen=True)
class Group:
    """Figures, or a table, under one heading."""

    heading: str = ""
    reading: str = ""
    """How to read what follows, in a sentence or two."""
    panels: tuple[Panel, ...] = ()
    table: Table | None = None
    wide: bool = False
    """The panels want more room than a curve."""


@dataclass(frozen=True)
class Section:
    """One section of the report."""

    anchor: str
    """Of the link to it; unique on the page."""
    title: str
    short: str
    """The title in the list of sections."""
    groups: tuple[Group, ...] = ()
    sentences: tuple[str, ...] = ()
    """What the figures say, in words with numbers; stands first."""
    reading: str = ""
    """How to read the whole section."""
    legend: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Name and line (`color`, `dash`) of every curve that the panels do not name themselves."""
    missing: str = ""
    """What is said where there is nothing to show: what was not there, and what would make it so."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.groups or self.sentences)


def layout(**more: Any) -> dict[str, Any]:
    """Return a layout with narrow margins, overridden by `more`."""
    base: dict[str, Any] = {
        "margin": {"l": 40, "r": 10, "t": 6, "b": 28},
        "showlegend": False,
        "hovermode": "x unified",
    }
    return {**base, **more}
