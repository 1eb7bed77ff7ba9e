"""Figures that are no curves: held-out accuracy with its intervals, and who borrows from whom."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from mcpo_rl.analysis.loading import RunData
from mcpo_rl.analysis.palette import ordered, run_line
from mcpo_rl.analysis.panel import Panel, layout
from mcpo_rl.scores import Estimate


def borrowing_panel(run: RunData) -> Panel | None:
    """Return who borrows from whom: the share of each domain's chosen positives that every other domain supplies."""
    counts = borrowed(run)
    if not counts:
        return None
    domains = ordered(domain for pair in counts for domain in pair)
    totals = {to: sum(counts.get((to, source), 0.0) for source in domains) for to in domains}
    shares: list[list[float | None]] = []
    texts: list[list[str]] = []
    for to in domains:
        row = [
            None if source == to or not totals[to] else counts.get((to, source), 0.0) / totals[to] for source in domains
        ]
        shares.append(row)
        texts.append(
            [
                "" if share is None else f"{share:.0%}<br>{counts.get((to, source), 0.0):,.0f}"
                for source, share in zip(domains, row, strict=True)
            ]
        )
    names = [escape(domain) for domain in domains]
    heat = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": shares,
        "text": texts,
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} takes %{z:.1%} of its positives from %{x}<extra></extra>",
        "hoverongaps": False,
        "zmin": 0,
        "zmax": 1,
        "xgap": 3,
        "ygap": 3,
        "showscale": False,
        "colorscale": [[0, "rgba(0,114,178,0.06)"], [1, "rgba(0,114,178,0.85)"]],
    }
    arrangement = layout(
        xaxis={"title": {"text": "supplied by", "font": {"size": 13}}, "type": "category", "showgrid": False},
        yaxis={
            "title": {"text": "anchors of", "font": {"size": 13}},
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
        },
        margin={"l": 74, "r": 10, "t": 8, "b": 48},
        hovermode="closest",
    )
    label = f"Which domains supply the positives of which, in {run.name}"
    return Panel(run.name, {"data": [heat], "layout": arrangement}, label, height=90 + 62 * len(domains))


def borrowed(run: RunData) -> dict[tuple[str, str], float]:
    """Return the chosen cross-domain positives over the logged steps, by (domain of the anchor, of the positive)."""
    keys = {key for row in run.metrics for key in row if key.startswith("contrastive/borrow/") and key.count("/") == 3}
    sums = {(key.split("/")[2], key.split("/")[3]): sum(run.series(key)[1]) for key in keys}
    return {pair: count for pair, count in sorted(sums.items())} if any(sums.values()) else {}


def accuracy_panel(runs: Sequence[RunData], domains: Sequence[str]) -> Panel | None:
    """Return held-out accuracy before and after training with 95% intervals, one row per domain and run."""
    shown = [(place, run, run.end) for place, run in enumerate(runs) if run.end is not None]
    judged = [d for d in domains if any(d in end.domains and end.domains[d].accuracy.problems for _, _, end in shown)]
    if not judged:
        return None
    traces: list[dict[str, Any]] = []
    for row, (place, run, end) in enumerate(shown):
        heights = {domain: number + _offset(len(shown), row) for number, domain in enumerate(judged)}
        after = {d: end.domains[d].accuracy for d in judged if d in end.domains and end.domains[d].accuracy.problems}
        start = run.start.domains if run.start else {}
        before = {d: start[d].accuracy for d in after if d in start and start[d].accuracy.problems}
        traces += _before_and_after(escape(run.name), str(run_line(place)["color"]), heights, before, after)
    arrangement = layout(
        xaxis={"range": [-0.02, 1.02], "title": {"text": "held-out accuracy", "font": {"size": 13}}},
        yaxis={
            "tickvals": list(range(len(judged))),
            "ticktext": [escape(domain) for domain in judged],
            "range": [len(judged) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        margin={"l": 64, "r": 14, "t": 8, "b": 44},
        hovermode="closest",
    )
    label = "Held-out accuracy before and after training, with 95% intervals, by domain and run"
    return Panel("", {"data": traces, "layout": arrangement}, label, height=70 + len(judged) * (26 + 24 * len(shown)))


def _before_and_after(
    name: str, colour: str, heights: dict[str, float], before: dict[str, Estimate], after: dict[str, Estimate]
) -> list[dict[str, Any]]:
    base = {"type": "scatter", "name": name, "showlegend": False}
    joints = [(x, heights[d]) for d in before for x in (before[d].value, after[d].value, None)]
    return [
        {
            **base,
            "x": [x for x, _ in joints],
            "y": [y for _, y in joints],
            "mode": "lines",
            "line": {"color": colour, "width": 1.2, "dash": "dot"},
            "hoverinfo": "skip",
        },
        {
            **base,
            "x": [estimate.value for estimate in before.values()],
            "y": [heights[domain] for domain in before],
            "mode": "markers",
            "marker": {"symbol": "circle-open", "size": 9, "color": colour},
            "hovertemplate": "%{x:.3f} before training<extra>%{fullData.name}</extra>",
        },
        {
            **base,
            "x": [estimate.value for estimate in after.values()],
            "y": [heights[domain] for domain in after],
            "mode": "markers",
            "marker": {"size": 10, "color": colour},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [estimate.high - estimate.value for estimate in after.values()],
                "arrayminus": [estimate.value - estimate.low for estimate in after.values()],
                "color": colour,
                "thickness": 2,
                "width": 4,
            },
            "hovertemplate": "%{x:.3f} after training<extra>%{fullData.name}</extra>",
        },
    ]


def _offset(count: int, place: int) -> float:
    """Return where the row of run `place` of `count` stands around its domain's height."""
    return 0.0 if count < 2 else (place / (count - 1) - 0.5) * min(0.5, 0.2 * count)
