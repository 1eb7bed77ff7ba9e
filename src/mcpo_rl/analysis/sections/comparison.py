"""A comparison of methods over seeds: in words, as tables, as figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mcpo_rl.analysis.reading.comparison import ComparisonData, MethodRow, Value, read_comparison
from mcpo_rl.analysis.reading.seeds import Family
from mcpo_rl.analysis.sections.matrices import NEGATIVE
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Panel, Section, Table, layout
from mcpo_rl.analysis.sections.wording import amount, duration, listed, sign
from mcpo_rl.errors import RunError

Lines = Mapping[str, Mapping[str, Any]]
"""`color` and `dash` by method."""


def comparison_sections(families: Sequence[Family]) -> list[Section]:
    """Return a section for every comparison that the runs are from; one without a result says so.

    Args:
        families: All that the report shows: a method has the same colour here as in the curves.
    """
    folders = list(dict.fromkeys(run.comparison for one in families for run in one.runs if run.comparison is not None))
    sections = []
    for number, folder in enumerate(folders):
        anchor, title = f"comparison-{number}" if number else "comparison", "Methods side by side"
        if len(folders) > 1:
            title += f": {folder.name}"
        try:
            data = read_comparison(folder)
        except RunError as error:
            sections.append(Section(anchor, title, "Comparison", missing=str(error)))
            continue
        groups = (
            Group("Held-out accuracy", _ACCURACY, table=accuracy_table(data)),
            Group(panels=tuple(forest_panels(data, method_lines(families, folder)))),
            Group("Gains", _GAINS, table=gains_table(data)),
            Group("What a seed cost", _COST, table=cost_table(data)),
        )
        sections.append(Section(anchor, title, "Comparison", groups, tuple(conditions(data))))
    return sections


_ACCURACY = (
    "Mean over the seeds, with a 95% interval: over the seeds where several were trained, else, marked °, over the "
    "problems. In the figures the small points are single seeds, and the dotted line is the model before training."
)
_GAINS = (
    "Gain: accuracy after training less that before. Worst domain: of each seed the smallest of the domains' gains. "
    "Bold: it can be told from 0."
)
_COST = "Of specialists, the sum over all of them. Time is that of the optimizer steps: no loading, no evaluation."


def headlines(data: ComparisonData) -> list[str]:
    """Return who is better than the reference, and how much the worst domain of each method gained."""
    sentences = [_against(data, row) for row in data.rows if row.against.known]
    worst = [
        f"{row.label} {sign(row.worst_gain.value)} ({row.worst_domain or 'not the same domain at every seed'})"
        for row in data.rows
        if row.worst_gain.known
    ]
    if worst:
        sentences.append(f"The smallest gain of a domain, averaged over the seeds: {', '.join(worst)}.")
    return sentences


def conditions(data: ComparisonData) -> list[str]:
    """Return what was compared on which budget, what is still missing, and what limits the comparison."""
    budget = data.budget
    sentences = [
        f"{listed([row.label for row in data.rows])} from {data.model or 'one model'}, "
        f"{'seed' if len(data.seeds) == 1 else 'seeds'} {listed([str(seed) for seed in data.seeds])}: "
        f"{budget.get('steps', '?')} optimizer steps of {budget.get('rollouts_per_step', math.nan):g} rollouts. "
        f"Budget {budget.get('convention', '')}: {budget.get('text', '')}."
    ]
    missing = [f"{row.label} seed {seed} ({why})" for row in data.rows for seed, why in row.missing.items()]
    if missing:
        sentences.append(f"Not finished, and not in the numbers: {'; '.join(missing)}.")
    if len(data.seeds) < 3 and any(row.against.known for row in data.rows):
        sentences.append(
            f"With {len(data.seeds)} training seed{'s' if len(data.seeds) > 1 else ''} no difference between methods "
            "is called clear: another seed may turn it round."
        )
    return [*sentences, *data.remarks]


def accuracy_table(data: ComparisonData) -> Table:
    """Return accuracy by method and domain, the model before training first."""
    extra = [domain for domain in data.start if domain not in data.domains]
    shown = [*data.domains, *ordered(extra)]
    rows = [("before training", *(_share(data.start.get(d, Value())) for d in shown), _share(data.start_mean), "")]
    for row in data.rows:
        cells = [_share(row.accuracy.get(domain, Value())) for domain in shown]
        rows.append((row.label, *cells, _share(row.mean), str(len(row.seeds))))
    columns = ("", *(f"{d} (not trained)" if d in extra else d for d in shown), "mean of domains", "seeds")
    return Table(columns, tuple(rows), caption="Held-out accuracy by method and domain")


def gains_table(data: ComparisonData) -> Table:
    """Return for every method its gains, and its differences to the reference and to the specialists."""
    columns = ("", "mean gain", "worst domain", "over single-domain", f"against {data.label(data.reference)}")
    rows, marked = [], set()
    for place, row in enumerate(data.rows):
        worst = f"{_difference(row.worst_gain)} {row.worst_domain}".strip() if row.worst_gain.known else "–"
        rows.append(
            (row.label, _difference(row.mean_gain), worst, _difference(row.over_single), _difference(row.against))
        )
        marked |= {(place, column) for column, value in ((3, row.over_single), (4, row.against)) if value.clear}
    return Table(columns, tuple(rows), frozenset(marked), "Gains of each method in held-out accuracy")


def cost_table(data: ComparisonData) -> Table:
    """Return for every method what one seed of it cost."""
    kinds = {"runs": amount, "steps": amount, "rollouts": amount, "tokens": amount, "seconds": duration}
    rows = tuple(
        (row.label, *(say(row.cost[kind]) if kind in row.cost else "–" for kind, say in kinds.items()))
        for row in data.rows
    )
    columns = ("", "runs", "optimizer steps", "rollouts", "tokens", "training time")
    return Table(columns, rows, caption="What one seed of each method cost")


def method_lines(families: Sequence[Family], folder: Path) -> Lines:
    """Return the line that each method of the comparison in `folder` has in the curves."""
    return {one.runs[0].family: run_line(n) for n, one in enumerate(families) if one.runs[0].comparison == folder}


def forest_panels(data: ComparisonData, lines: Lines) -> list[Panel]:
    """Return a panel per domain and one for their mean: a row per method with its interval, single seeds as points."""
    panels = []
    for domain in [*data.domains, ""]:
        start = data.start.get(domain, Value()) if domain else data.start_mean
        values = [(row, row.accuracy.get(domain, Value()) if domain else row.mean) for row in data.rows]
        known = [(place, row, value) for place, (row, value) in enumerate(values) if value.known]
        if not known:
            continue
        name = domain or "mean of domains"
        traces = [
            trace
            for place, row, value in known
            for trace in _forest_row(str(lines.get(row.method, run_line(place))["color"]), row, value)
        ]
        figure = {"data": traces, "layout": _forest_layout(known, start)}
        label = f"Held-out accuracy of every method with its interval, {name}"
        panels.append(Panel(name, figure, label, height=64 + 30 * len(known)))
    return panels


def _forest_row(colour: str, row: MethodRow, value: Value) -> list[dict[str, Any]]:
    name = escape(row.label)
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": list(value.seeds.values()),
        "y": [name] * len(value.seeds),
        "text": [f"seed {escape(str(seed))}" for seed in value.seeds],
        "marker": {"color": colour, "size": 5, "opacity": 0.45},
        "hovertemplate": "%{x:.3f}, %{text}<extra></extra>",
        "showlegend": False,
    }
    mean: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": [value.value],
        "y": [name],
        "marker": {"color": colour, "size": 10},
        "hovertemplate": f"{name}: {_share(value)}<extra></extra>",
        "showlegend": False,
    }
    if math.isfinite(value.low):
        mean["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [value.high - value.value],
            "arrayminus": [value.value - value.low],
            "color": colour,
            "thickness": 2,
            "width": 4,
        }
    return [mean] if len(value.seeds) < 2 else [points, mean]


def _forest_layout(known: Sequence[tuple[int, MethodRow, Value]], start: Value) -> dict[str, Any]:
    numbers = [x for _, _, v in known for x in (v.value, v.low, v.high, *v.seeds.values()) if math.isfinite(x)]
    numbers += [start.value] if start.known else []
    room = 0.06 * max(max(numbers) - min(numbers), 0.05)
    line = {"type": "line", "x0": start.value, "x1": start.value, "yref": "paper", "y0": 0, "y1": 1}
    stroke = {"color": f"rgba({NEGATIVE},0.9)", "width": 1.4, "dash": "dot"}
    return layout(
        xaxis={"range": [min(numbers) - room, max(numbers) + room], "tickformat": ".2f"},
        yaxis={
            "type": "category",
            "categoryarray": [escape(row.label) for _, row, _ in known],
            "autorange": "reversed",
            "showgrid": False,
        },
        shapes=[{**line, "line": stroke}] if start.known else [],
        margin={"l": 110, "r": 12, "t": 8, "b": 28},
        hovermode="closest",
    )


def _against(data: ComparisonData, row: MethodRow) -> str:
    verdict = "no clear difference"
    if row.against.clear:
        verdict = "clearly better" if row.against.value > 0 else "clearly worse"
    sentence = (
        f"{row.label} against {data.label(data.reference)}, averaged over the domains: "
        f"{_difference(row.against)}, {verdict}."
    )
    clear = [
        f"{domain} {_difference(row.against_domains[domain])}"
        for domain in ordered(row.against_domains)
        if row.against_domains[domain].clear
    ]
    return f"{sentence} Clear in {listed(clear)}." if clear else sentence


def _share(value: Value) -> str:
    if not value.known:
        return "–"
    if not math.isfinite(value.low):
        return f"{value.value:.3f}"
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f}){'°' if value.over == 'problems' else ''}"


def _difference(value: Value) -> str:
    if not value.known:
        return "–"
    if not math.isfinite(value.low):
        return sign(value.value)
    mark = "°" if value.over == "problems" else ""
    return f"{sign(value.value)} ({sign(value.low)} to {sign(value.high)}){mark}"
