"""One part of the page: figures under headings, tables, and the sentences that say how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mcpo_rl.analysis.panel import Panel


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of plain texts; the page escapes them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Each as long as `header`; the first cell is the row's heading."""
    title: str = ""
    text: str = ""
    """How to read it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. Every text is plain: the page escapes it."""

    key: str
    """Its anchor in the page."""
    title: str
    short: str = ""
    """Its name in the page's navigation; the title if left out."""
    text: str = ""
    """What is shown and how to read it, above everything."""
    panels: Mapping[str, Sequence[tuple[Panel, str]]] = field(default_factory=dict)
    """Figures by heading ('' for none), each with a sentence on how to read it ('' for none)."""
    tables: Sequence[Table] = ()
    """Above the figures."""
    missing: str = ""
    """Said in place of the figures where there is neither a figure nor a table: what is missing and what would log it."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing but `missing`."""
        return not self.tables and not any(self.panels.values())
