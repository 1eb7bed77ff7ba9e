"""One figure of the report, as plain data for plotly.js; the page's theme colours ground, text and grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Panel:
    """One figure with what stands above it."""

    title: str
    figure: dict[str, Any]
    """`data` and `layout` of plotly.js."""
    label: str
    """What the figure shows, in words, for those who do not see it."""
    colour: str = ""
    """Of the mark before the title: a domain's colour."""
    height: int = 230


def layout(**more: Any) -> dict[str, Any]:
    """Return a layout with narrow margins, overridden by `more`."""
    base: dict[str, Any] = {
        "margin": {"l": 40, "r": 10, "t": 6, "b": 28},
        "showlegend": False,
        "hovermode": "x unified",
    }
    return {**base, **more}
