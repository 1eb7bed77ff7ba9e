"""Curves over the training steps: per domain, and of the contrastive term."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from mcpo_rl.analysis.loading import RunData
from mcpo_rl.analysis.palette import run_line
from mcpo_rl.analysis.panel import Panel, layout

DOMAIN_METRICS = {
    "accuracy": "Accuracy on the training rollouts",
    "reward": "Mean reward",
    "completion_length": "Completion length, tokens",
}


def smooth(values: Sequence[float]) -> list[float]:
    """Return the centred moving average over about a twelfth of the values; at the ends the window shrinks evenly."""
    half = len(values) // 24
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    means = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        means.append(float(sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
    return means


def domain_curves(runs: Sequence[RunData], domains: Sequence[str], colours: dict[str, str]) -> dict[str, list[Panel]]:
    """Return for each metric one panel per domain, with a curve for every run that logged it."""
    sections: dict[str, list[Panel]] = {}
    for metric, heading in DOMAIN_METRICS.items():
        panels = []
        for domain in domains:
            traces = [
                trace
                for place, run in enumerate(runs)
                for trace in curve(run, f"domain/{domain}/{metric}", name=run.name, line=run_line(place))
            ]
            if traces:
                axis = {"range": [-0.02, 1.02]} if metric == "accuracy" else {"rangemode": "tozero"}
                label = f"{heading}, {domain}, by training step"
                panels.append(Panel(domain, {"data": traces, "layout": layout(yaxis=axis)}, label, colours[domain]))
        if panels:
            sections[heading] = panels
    return sections


_CONTRASTIVE: tuple[tuple[str, dict[str, str], str], ...] = (
    (
        "Losses",
        {"share": "contrastive/share_loss", "consolidate": "contrastive/consolidate_loss"},
        "How far positives are from being told from negatives: sharing across domains, consolidation within.",
    ),
    (
        "Similarity of embeddings",
        {
            "cross-domain positives": "contrastive/similarity/cross_positive",
            "in-domain positives": "contrastive/similarity/in_domain_positive",
            "negatives": "contrastive/similarity/negative",
        },
        "Mean cosine. Positives above negatives: the term has something to hold on to.",
    ),
    (
        "Strength",
        {"contrastive / policy": "contrastive/grad_ratio"},
        "Norm of the contrastive gradient on the hidden states relative to the policy's.",
    ),
    (
        "Anchors and their positives",
        {"anchors": "contrastive/anchors", "cross-domain positives": "contrastive/positives"},
        "Correct rollouts that take part, and the pairs chosen for them. No anchors: the term was zero.",
    ),
    (
        "Transferability of chosen positives",
        {"mean score": "contrastive/transferability"},
        "How alike in reasoning the chosen rollouts of other domains are, the domains' means taken out.",
    ),
    (
        "Alignment and uniformity",
        {"alignment": "contrastive/alignment", "uniformity": "contrastive/uniformity"},
        "Lower is closer positives, and more evenly spread embeddings.",
    ),
)
_QUANTITY_LINES = ({"color": "#7A68C9"}, {"color": "#1690A3", "dash": "dash"}, {"color": "#B07A00", "dash": "dot"})


def contrastive_panels(run: RunData) -> list[tuple[Panel, str]]:
    """Return the panels of the contrastive term's own metrics, each with a sentence on how to read it."""
    panels = []
    for title, quantities, reading in _CONTRASTIVE:
        traces = [
            trace
            for (name, key), line in zip(quantities.items(), _QUANTITY_LINES, strict=False)
            for trace in curve(run, key, name=name, line={**line, "width": 2.2}, legend=len(quantities) > 1)
        ]
        if traces:
            arrangement = layout(showlegend=len(quantities) > 1, yaxis={"rangemode": "normal"})
            arrangement["legend"] = {"orientation": "h", "y": -0.22, "x": 0, "xanchor": "left"}
            arrangement["margin"] = {"l": 44, "r": 10, "t": 8, "b": 34}
            figure = {"data": traces, "layout": arrangement}
            panels.append((Panel(title, figure, f"{title} of {run.name}, by training step", height=270), reading))
    return panels


def curve(run: RunData, key: str, *, name: str, line: dict[str, Any], legend: bool = False) -> list[dict[str, Any]]:
    """Return faint points and a smoothed line for one metric of one run; nothing where it was never logged."""
    steps, values = run.series(key)
    if not steps:
        return []
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": steps,
        "y": [_short(value) for value in values],
        "marker": {"color": line["color"], "size": 4, "opacity": 0.28},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    smoothed = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 1 else "markers",
        "x": steps,
        "y": [_short(value) for value in smooth(values)],
        "name": escape(name),
        "line": line,
        "marker": {"color": line["color"]},
        "showlegend": legend,
        "hovertemplate": "%{y:.3~g}",
    }
    return [points, smoothed]


def _short(value: float) -> float:
    """Return five significant digits: enough for a curve, and a third of the page."""
    return float(f"{value:.5g}")
