"""Curves over the training steps: per domain, and of the contrastive term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mcpo_rl.analysis.reading.loading import RunData, thin
from mcpo_rl.analysis.reading.seeds import Family
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Panel, Section, layout

DOMAIN_METRICS = {
    "accuracy": "Accuracy on the training rollouts",
    "reward": "Mean reward",
    "completion_length": "Completion length, tokens",
    "truncated": "Share of completions cut at the token limit",
    "error": "Share of completions that the verifier failed on",
    "share": "Share of the batch",
}
OFTEN_ZERO = ("truncated", "error")
"""Metrics that are only shown where a run has ever had something to tell."""
MOST_POINTS = 400
"""Points of one curve; more make the page larger and show nothing that a screen could."""


def smooth(values: Sequence[float]) -> list[float]:
    """Return the centred moving average over about a twelfth of the values; at the ends the window shrinks evenly."""
    half = len(values) // 24
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    means = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        means.append(float(sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1))
    return means


def curves_section(families: Sequence[Family], domains: Sequence[str], colours: Mapping[str, str]) -> Section:
    """Return for each metric per domain one panel per domain, with a curve of every run.

    Args:
        families: What is drawn; runs that differ in their seed alone are one curve, over a faint one of each.
        domains: In the order of the panels.
        colours: Of the marks before the domains' names.
    """
    groups = []
    same = all(  # rewards of 0 and 1: one figure says it all
        family.series(f"domain/{domain}/reward") == family.series(f"domain/{domain}/accuracy")
        for family in families
        for domain in domains
    )
    for metric, heading in DOMAIN_METRICS.items():
        panels = []
        for domain in domains:
            key = f"domain/{domain}/{metric}"
            if metric in OFTEN_ZERO and not any(any(family.series(key)[1]) for family in families):
                continue
            traces = [
                trace for place, family in enumerate(families) for trace in curve(family, key, line=run_line(place))
            ]
            if traces:
                axis = {"range": [-0.02, 1.02]} if metric == "accuracy" else {"rangemode": "tozero"}
                label = f"{heading}, {domain}, by training step"
                panels.append(Panel(domain, {"data": traces, "layout": layout(yaxis=axis)}, label, colours[domain]))
        if panels and not (metric == "share" and _constant(families, domains)) and not (metric == "reward" and same):
            groups.append(Group(heading, panels=tuple(panels)))
    faint = "Faint lines: the single runs" if any(family.many for family in families) else "Faint points: logged values"
    reading = (
        f"Across: the training step. {faint}. Line: centred moving average over a twelfth of the run. "
        "The accuracy here is that of the rollouts trained on; what counts is the held-out one above."
    )
    legend = tuple((family.title, run_line(place)) for place, family in enumerate(families)) if groups else ()
    return Section(
        "curves",
        "Learning curves",
        "Curves",
        tuple(groups),
        legend=legend,
        reading=reading,
        missing="No metrics per domain were logged.",
    )


def _constant(families: Sequence[Family], domains: Sequence[str]) -> bool:
    """Tell whether every domain had the same share of every batch, as with quotas: then there is nothing to see."""
    series = [family.series(f"domain/{domain}/share")[1] for family in families for domain in domains]
    return all(max(values) - min(values) < 0.005 for values in series if values)


_TERM: tuple[tuple[str, dict[str, str], str], ...] = (
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
QUANTITY_LINES = ({"color": "#7A68C9"}, {"color": "#1690A3", "dash": "dash"}, {"color": "#B07A00", "dash": "dot"})


def term_section(families: Sequence[Family]) -> Section:
    """Return what the contrastive term measured of itself, one group for every run that has it."""
    contrastive = [family for family in families if family.is_contrastive]
    groups = [
        Group(family.title if len(contrastive) > 1 or family.many else "", panels=tuple(term_panels(family)), wide=True)
        for family in contrastive
    ]
    return Section(
        "term",
        "Contrastive term",
        "Term",
        tuple(group for group in groups if group.panels),
        missing="None of these runs has the contrastive term (or its metrics were not logged).",
    )


def term_panels(run: RunData | Family) -> list[Panel]:
    """Return the panels of the contrastive term's own metrics."""
    panels = []
    for title, quantities, reading in _TERM:
        traces = [
            trace
            for (name, key), line in zip(quantities.items(), QUANTITY_LINES, strict=False)
            for trace in curve(run, key, name=name, line={**line, "width": 2.2}, legend=len(quantities) > 1)
        ]
        if traces:
            label = f"{title} of {run.name}, by training step"
            panels.append(
                Panel(title, {"data": traces, "layout": keyed(len(quantities) > 1)}, label, height=270, reading=reading)
            )
    return panels


def keyed(legend: bool, **more: Any) -> dict[str, Any]:
    """Return the layout of a panel whose curves are named below it."""
    base: dict[str, Any] = {
        "showlegend": legend,
        "yaxis": {"rangemode": "normal"},
        "legend": {"orientation": "h", "y": -0.22, "x": 0, "xanchor": "left"},
        "margin": {"l": 44, "r": 10, "t": 8, "b": 34},
    }
    return layout(**{**base, **more})


def domain_lines(
    run: RunData | Family, prefix: str, colours: Mapping[str, str], *, dashed: bool = False
) -> list[dict[str, Any]]:
    """Return one named curve per domain of the metrics `<prefix>/<domain>`, in the domains' colours."""
    found = ordered(key[len(prefix) + 1 :] for key in run.keys if key.startswith(prefix + "/"))
    return [
        trace
        for place, domain in enumerate(name for name in found if "/" not in name)
        for trace in curve(
            run,
            f"{prefix}/{domain}",
            name=domain,
            line={"color": colours.get(domain, "#6B7280"), "width": 2.2, "dash": _DASHES[place % 4]},
            legend=True,
        )
    ]


_DASHES = ("solid", "dash", "dot", "dashdot")  # a second sign beside the domain's colour


def curve(
    run: RunData | Family, key: str, *, line: Mapping[str, Any], name: str = "", legend: bool = False
) -> list[dict[str, Any]]:
    """Return a smoothed line for one metric over faint points, or over faint lines of single seeds; nothing without it.

    Args:
        run: One run, or runs that differ in their seed alone.
        key: The metric's name.
        line: `color`, and optionally `dash` and `width`.
        name: In the hover text and the legend; the run's where it is left out.
        legend: Whether the curve is named below the panel.
    """
    steps, values = run.series(key)
    if not steps:
        return []
    smoothed = smooth(values)
    rows = thin(range(len(steps)), MOST_POINTS)
    trace = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 1 else "markers",
        "x": [steps[row] for row in rows],
        "y": [short(smoothed[row]) for row in rows],
        "name": escape(name or run.name),
        "line": dict(line),
        "marker": {"color": line["color"]},
        "showlegend": legend,
        "hovertemplate": "%{y:.3~g}",
    }
    single = run.runs if isinstance(run, Family) and run.many else ()
    if single:
        return [*(faint for one in single for faint in _faint_line(one, key, str(line["color"]))), trace]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": trace["x"],
        "y": [short(values[row]) for row in rows],
        "marker": {"color": line["color"], "size": 4, "opacity": 0.28},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [points, trace]


def _faint_line(run: RunData, key: str, colour: str) -> list[dict[str, Any]]:
    steps, values = run.series(key)
    if not steps:
        return []
    smoothed = smooth(values)
    rows = thin(range(len(steps)), MOST_POINTS // 2)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [steps[row] for row in rows],
            "y": [short(smoothed[row]) for row in rows],
            "line": {"color": colour, "width": 1},
            "opacity": 0.35,
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]


def short(value: float) -> float:
    """Return five significant digits: enough for a curve, and a third of the page."""
    return float(f"{value:.5g}")
