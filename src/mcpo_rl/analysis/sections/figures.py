"""Figures that are no curves: held-out accuracy with its intervals, and who borrows from whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.reading.seeds import Family
from mcpo_rl.analysis.sections.matrices import Pair, by_pair, matrix_panel, over_time_panel
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Panel, Section, layout
from mcpo_rl.scores import Estimate


def borrowing_section(runs: Sequence[Family]) -> Section:
    """Return who borrows from whom, over the whole run and over time, one group for every run with the term."""
    contrastive = [run for run in runs if run.is_contrastive]
    sentences: list[str] = []
    groups: list[Group] = []
    for run in contrastive:
        panels = [panel for panel in (borrowing_panel(run), borrowing_over_time(run)) if panel is not None]
        if panels:
            sentences.append(f"{run.name}: {borrowing_in_words(run)}")
            heading = run.title if len(contrastive) > 1 or run.many else ""
            groups.append(Group(heading, "" if groups else _BORROWING, tuple(panels), wide=True))
        else:
            sentences.append(
                f"{run.name} chose no cross-domain positives: in no logged step were there correct rollouts of two "
                "domains (or their choice was not logged)."
            )
    missing = "None of these runs has the contrastive term, so no domain borrowed from another."
    return Section("borrowing", "Who borrows from whom", "Borrowing", tuple(groups), tuple(sentences), missing=missing)


_BORROWING = (
    "Each row: where a domain's correct rollouts found their positives among the other domains, as a share of the row "
    "and as a count over the logged steps. What is borrowed depends on what is there: a domain with many correct "
    "rollouts has more to lend."
)


def borrowing_panel(run: RunData | Family) -> Panel | None:
    """Return who borrows from whom: the share of each domain's chosen positives that every other domain supplies."""
    counts = borrowed(run)
    if not counts:
        return None
    domains = ordered(domain for pair in counts for domain in pair)
    shares = shares_of(counts)
    return matrix_panel(
        "Over the whole run",
        domains,
        shares,
        label=f"Which domains supply the positives of which, in {run.name}",
        texts={pair: f"{share:.0%}<br>{counts[pair]:,.0f}" for pair, share in shares.items()},
        hover="%{y} takes %{z:.1%} of its positives from %{x}",
        rows="anchors of",
        columns="supplied by",
    )


def borrowing_over_time(run: RunData | Family) -> Panel | None:
    """Return the same shares over the steps; None where every domain has one other only to borrow from."""
    found = by_pair(run.keys, "contrastive/borrow", run.series)
    domains = ordered(domain for pair in found for domain in pair)
    if len(domains) < 3:
        return None
    totals: dict[tuple[str, int], float] = {}
    for (to, _), (steps, counts) in found.items():
        for step, count in zip(steps, counts, strict=True):
            totals[to, step] = totals.get((to, step), 0.0) + count
    series = {}
    for to in domains:
        for source in domains:
            steps, counts = found.get((to, source), ([], []))
            rows = [row for row, step in enumerate(steps) if totals[to, step] and to != source]
            if rows:
                shares = [counts[row] / totals[to, steps[row]] for row in rows]
                series[f"{to} from {source}"] = ([steps[row] for row in rows], shares)
    return over_time_panel(
        "Over the steps",
        series,
        label=f"Share of each domain's positives that every other domain supplies, over the steps of {run.name}",
        hover="%{y}, %{customdata}: %{z:.0%}",
        percent=True,
    )


def borrowing_in_words(run: RunData | Family) -> str:
    """Return for every domain where most of its positives came from, as a sentence."""
    counts = borrowed(run)
    shares = shares_of(counts)
    domains = ordered(domain for pair in counts for domain in pair)
    parts = []
    for to in domains:
        suppliers = {source: share for (anchor, source), share in shares.items() if anchor == to}
        if not suppliers:
            parts.append(f"{to} found none")
            continue
        first = max(suppliers, key=lambda source: suppliers[source])
        total = sum(count for (anchor, _), count in counts.items() if anchor == to)
        parts.append(f"{to} took {suppliers[first]:.0%} of its {total:,.0f} cross-domain positives from {first}")
    return "; ".join(parts) + "."


def borrowed(run: RunData | Family) -> dict[Pair, float]:
    """Return the chosen cross-domain positives over the logged steps, by (domain of the anchor, of the positive)."""
    counts = {pair: sum(values) for pair, (_, values) in by_pair(run.keys, "contrastive/borrow", run.series).items()}
    return counts if any(counts.values()) else {}


def shares_of(counts: Mapping[Pair, float]) -> dict[Pair, float]:
    """Return of every count its share of the anchors' row; rows without a positive are left out."""
    totals: dict[str, float] = {}
    for (to, _), count in counts.items():
        totals[to] = totals.get(to, 0.0) + count
    return {pair: count / totals[pair[0]] for pair, count in counts.items() if totals[pair[0]] and pair[0] != pair[1]}


def accuracy_panel(
    runs: Sequence[RunData], domains: Sequence[str], places: Sequence[int] | None = None
) -> Panel | None:
    """Return held-out accuracy before and after training with 95% intervals, one row per domain and run.

    Args:
        runs: Those without an evaluation are left out.
        domains: In the order of the rows.
        places: For every run the place that decides its colour; by default that among `runs`.
    """
    numbered = zip(range(len(runs)) if places is None else places, runs, strict=True)
    shown = [(place, run, run.end) for place, run in numbered if run.end is not None]
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
