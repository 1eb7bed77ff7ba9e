"""Heat maps: quantities between two domains, as a matrix and over time.

Colours run from orange (negative: against each other) over the page's ground to blue (positive). They are mixed with
whatever ground the page has, so that the same figure holds on a light and on a dark one, and every cell of a matrix
has its number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mcpo_rl.analysis.sections.curves import short
from mcpo_rl.analysis.sections.palette import ordered
from mcpo_rl.analysis.sections.panel import Panel, layout

Pair = tuple[str, str]

MOST_COLUMNS = 48
"""Columns of a heat map over time; more steps than that are averaged in windows."""
NEGATIVE, POSITIVE = "213,94,0", "0,114,178"
ONE_SIDED = [[0, f"rgba({POSITIVE},0.06)"], [1, f"rgba({POSITIVE},0.85)"]]
TWO_SIDED = [[0, f"rgba({NEGATIVE},0.85)"], [0.5, "rgba(128,128,128,0.07)"], [1, f"rgba({POSITIVE},0.85)"]]


def matrix_panel(
    title: str,
    domains: Sequence[str],
    values: Mapping[Pair, float],
    *,
    label: str,
    texts: Mapping[Pair, str],
    hover: str,
    reach: float | None = None,
    high: float = 1.0,
    rows: str = "",
    columns: str = "",
    row_names: Sequence[str] | None = None,
    reading: str = "",
) -> Panel:
    """Return a domain x domain heat map.

    Args:
        title: What stands above it.
        domains: Names of rows and columns, in their order.
        values: By (row, column); pairs without a value stay empty.
        label: What is shown, in words.
        texts: What stands in each cell, escaped; `<br>` breaks a line.
        hover: Template of plotly.js for the hover text: `%{y}` is the row, `%{x}` the column, `%{z}` the value.
        reach: Colours go from -reach to reach; None: from 0 to `high`.
        high: See `reach`.
        rows: Title of the axis of the rows.
        columns: Title of the axis of the columns.
        row_names: Names of the rows where they are not the domains.
        reading: How to read it.
    """
    names, names_of_rows = [escape(domain) for domain in domains], list(row_names or domains)
    heat = {
        **_heat(reach, high),
        "x": names,
        "y": [escape(row) for row in names_of_rows],
        "z": [[_known(values.get((row, column))) for column in domains] for row in names_of_rows],
        "text": [[texts.get((row, column), "") for column in domains] for row in names_of_rows],
        "texttemplate": "%{text}",
        "hovertemplate": hover + "<extra></extra>",
        "xgap": 3,
        "ygap": 3,
        "showscale": False,
    }
    arrangement = layout(
        xaxis={"title": {"text": columns, "font": {"size": 13}}, "type": "category", "showgrid": False},
        yaxis={
            "title": {"text": rows, "font": {"size": 13}},
            "type": "category",
            "autorange": "reversed",
            "automargin": row_names is not None,  # they may be longer than a domain
            "showgrid": False,
        },
        margin={"l": 74 if rows else 48, "r": 10, "t": 8, "b": 48 if columns else 28},
        hovermode="closest",
    )
    figure = {"data": [heat], "layout": arrangement}
    return Panel(title, figure, label, height=(90 if columns else 60) + 62 * len(names_of_rows), reading=reading)


def over_time_panel(
    title: str,
    series: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    *,
    label: str,
    hover: str,
    reach: float | None = None,
    percent: bool = False,
    reading: str = "",
) -> Panel | None:
    """Return a heat map with a row per series and the training steps across; None where there is no value.

    Args:
        title: What stands above it.
        series: Steps and values by the name of the row, in the order of the rows.
        label: What is shown, in words.
        hover: Template for the hover text: `%{y}` is the row, `%{customdata}` the steps, `%{z}` the value.
        reach: As in `matrix_panel`, with a `high` of 1.
        percent: The scale's numbers are percentages.
        reading: How to read it.
    """
    windows = step_windows(sorted({step for steps, _ in series.values() for step in steps}))
    if not windows:
        return None
    cells = [[_mean_within(steps, values, window) for window in windows] for steps, values in series.values()]
    spans = [f"step {low}" if low == high else f"steps {low} to {high}" for low, high in windows]
    ends = [f"{end:+.2g}".replace("-", "−") for end in (-(reach or 0.0), reach or 0.0)]
    scale = {
        "thickness": 9,
        "len": 1,
        "outlinewidth": 0,
        "tickvals": [0, 1] if reach is None else [-reach, 0, reach],
        "ticktext": ["0%", "100%"] if percent else ["0", "1"] if reach is None else [ends[0], "0", ends[1]],
    }
    heat = {
        **_heat(reach),
        "x": [(low + high) / 2 for low, high in windows],
        "y": [escape(name) for name in series],
        "z": cells,
        "customdata": [spans] * len(cells),
        "hovertemplate": hover + "<extra></extra>",
        "ygap": 3,
        "colorbar": scale,
    }
    axes = {
        "xaxis": {"title": {"text": "training step", "font": {"size": 13}}, "showgrid": False, "zeroline": False},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
    }
    arrangement = layout(**axes, margin={"l": 96, "r": 8, "t": 8, "b": 44}, hovermode="closest")
    return Panel(title, {"data": [heat], "layout": arrangement}, label, height=78 + 34 * len(series), reading=reading)


def step_windows(steps: Sequence[int], most: int = MOST_COLUMNS) -> list[tuple[int, int]]:
    """Return the columns of a heat map over time: (first, last) of the ascending `steps` in each of equal windows."""
    if len(steps) <= most:
        return [(step, step) for step in steps]
    width = (steps[-1] - steps[0] + 1) / most
    windows: dict[int, tuple[int, int]] = {}
    for step in steps:
        place = int((step - steps[0]) / width)
        windows[place] = (windows[place][0] if place in windows else step, step)
    return [windows[place] for place in sorted(windows)]


def reach_of(values: Sequence[float]) -> float:
    """Return a round number that no absolute value exceeds, for a scale with 0 in its middle: 0.05, 0.1, 0.2, 0.5, 1.

    A fixed scale from -1 to 1 would show cosines of policy gradients, most of them small, as nothing.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return next((end for end in (0.05, 0.1, 0.2, 0.5) if largest <= end), max(1.0, largest))


def by_pair(
    keys: frozenset[str], prefix: str, series: Callable[[str], tuple[list[int], list[float]]]
) -> dict[Pair, Any]:
    """Return the series of the metrics `<prefix>/<A>/<B>` by (A, B), those that were never a number left out."""
    found = {}
    for key in sorted(keys):
        if key.startswith(prefix + "/") and key[len(prefix) + 1 :].count("/") == 1:
            first, second = key[len(prefix) + 1 :].split("/")
            values = series(key)
            if values[0]:
                found[first, second] = values
    return found


def ordered_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the distinct `pairs` in the order of the page's domains: by the first of each, then by the second."""
    distinct = set(pairs)
    places = {domain: place for place, domain in enumerate(ordered(domain for pair in distinct for domain in pair))}
    return sorted(distinct, key=lambda pair: sorted(places[domain] for domain in pair))


def _heat(reach: float | None, high: float = 1.0) -> dict[str, Any]:
    scale = {"zmin": 0, "zmax": high, "colorscale": ONE_SIDED}
    if reach is not None:
        scale = {"zmin": -reach, "zmax": reach, "colorscale": TWO_SIDED}
    return {"type": "heatmap", "hoverongaps": False, **scale}


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else short(value)


def _mean_within(steps: Sequence[int], values: Sequence[float], window: tuple[int, int]) -> float | None:
    inside = [value for step, value in zip(steps, values, strict=True) if window[0] <= step <= window[1]]
    return short(sum(inside) / len(inside)) if inside else None
