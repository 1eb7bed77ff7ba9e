"""Interference between the domains of a run, as the run measured it: gradients against each other, and forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcpo_rl.analysis.curves import curve, domain_lines, keyed
from mcpo_rl.analysis.matrices import Pair, by_pair, matrix_panel, over_time_panel, reach_of
from mcpo_rl.analysis.palette import ordered, run_line
from mcpo_rl.analysis.panel import Group, Panel, Section
from mcpo_rl.analysis.seeds import Family
from mcpo_rl.analysis.wording import sign, signed
from mcpo_rl.scores import Estimate
from mcpo_rl.scores.estimators import bootstrap_mean

BLOCKS = 20
"""Stretches of a run whose means are taken as independent: neighbouring steps are not."""
Series = tuple[list[int], list[float]]


def interference_section(runs: Sequence[Family], colours: Mapping[str, str]) -> Section:
    """Return cosines and norms of the domains' policy gradients over time, and what each domain lost of its best."""
    sentences: list[str] = []
    groups: list[Group] = []
    measured = {run.name: by_pair(run.keys, "interference/cosine", run.series) for run in runs}
    # One scale for all runs: the same colour is the same cosine.
    reach = reach_of_cosines(list(measured.values()))
    for run in runs:
        if cosines := measured[run.name]:
            sentences.append(in_words(run.name, cosines))
            panels = _cosine_panels(run, cosines, colours, reach)
            groups.append(Group(_headed(run, runs), "" if len(groups) else _COSINES, tuple(panels), wide=True))
    conflict = _over_runs(runs, "interference/conflict", "Share of pairs in conflict")
    if conflict and len(groups) > 1:
        groups.append(Group("Conflict, all runs", _CONFLICT, (conflict,), wide=True))
    losses = [
        Panel(run.title, {"data": lines, "layout": keyed(True)}, f"Accuracy below its best by domain, {run.name}")
        for run in runs
        if (lines := domain_lines(run, "forgetting", colours))
    ]
    if losses:
        groups.append(Group("Forgetting", _FORGETTING, tuple(losses), wide=True))
    legend = tuple((run.title, run_line(place)) for place, run in enumerate(runs)) if conflict else ()
    return Section(
        "interference",
        "Do the domains pull against each other?",
        "Interference",
        tuple(groups),
        tuple(sentences),
        legend=legend if len(runs) > 1 else (),
        missing="These runs did not measure the domains' policy gradients (metrics interference/...).",
    )


_COSINES = (
    "Cosine between the policy gradients of two domains. Orange, below 0: a step that helps one hurts the other. "
    "Blue, above 0: it helps both. Near 0: they do not meet. In the matrices, the mean over that part of the run."
)
_CONFLICT = "Share of the pairs of domains whose gradients had a negative cosine."
_FORGETTING = (
    "Held-out accuracy of each domain below its best so far: 0 is the best. What falls behind and stays there is being "
    "forgotten; a single step up is as likely the luck of the problems asked."
)


def in_words(name: str, cosines: Mapping[Pair, Series]) -> str:
    """Return which domains pull against each other, with mean cosines, their intervals and the shares of the steps."""
    groups: dict[str, list[str]] = {"against each other": [], "the same way": [], "neither way clearly": []}
    for (a, b), (_, values) in cosines.items():
        mean = mean_over_blocks(values)
        kind = "neither way clearly"
        if mean.clear:
            kind = "against each other" if mean.value < 0 else "the same way"
        negative = sum(value < 0 for value in values) / len(values)
        groups[kind].append(f"{a} and {b} {signed(mean)}, negative in {negative:.0%} of {len(values)} measurements")
    parts = [f"{kind}: {'; '.join(pairs)}" for kind, pairs in groups.items() if pairs]
    return f"{name}: policy gradients point {'. '.join(parts)}."


def mean_over_blocks(values: Sequence[float], blocks: int = BLOCKS) -> Estimate:
    """Return the mean of a series with an interval that neighbouring values may be alike in.

    The interval is a bootstrap over the means of up to `blocks` stretches of equal length: values that follow each
    other depend on each other, stretches far less.
    """
    parts = [
        part for part in np.array_split(np.asarray(values, dtype=np.float64), min(blocks, len(values))) if len(part)
    ]
    estimate = bootstrap_mean([float(part.mean()) for part in parts], unit=False)
    # Stretches may differ by one in length; the mean is that of the values.
    shift = float(np.mean(values)) - estimate.value
    return Estimate(estimate.value + shift, estimate.low + shift, estimate.high + shift, estimate.problems)


def _cosine_panels(
    run: Family, cosines: Mapping[Pair, Series], colours: Mapping[str, str], reach: float
) -> list[Panel]:
    domains = ordered(domain for pair in cosines for domain in pair)
    rows = {
        f"{a} · {b}": cosines[pair]
        for place, a in enumerate(domains)
        for b in domains[place + 1 :]
        for pair in ((a, b), (b, a))
        if pair in cosines
    }
    over_time = over_time_panel(
        "Cosine over the run",
        rows,
        label=f"Cosine between the domains' policy gradients over the steps of {run.name}",
        hover="%{y}, %{customdata}: %{z:+.3f}",
        reach=reach,
    )
    panels = [over_time] if over_time else []
    for title, part in _thirds(min(len(values) for _, values in cosines.values())):
        means = {pair: float(np.mean(_part(values, part))) for pair, (_, values) in cosines.items()}
        both = {**means, **{(b, a): value for (a, b), value in means.items()}}
        panels.append(
            matrix_panel(
                title,
                domains,
                both,
                label=f"Mean cosine between the domains' policy gradients, {title.lower()}, {run.name}",
                texts={pair: sign(value, 2) for pair, value in both.items()},
                hover="%{y} and %{x}: %{z:+.3f}",
                reach=reach,
            )
        )
    return [*panels, *_by_domain(run, colours)]


def _by_domain(run: Family, colours: Mapping[str, str]) -> list[Panel]:
    panels = []
    for name, title, reading in (
        ("share", "Share of the gradients' norms", "A domain with most of it decides where the step goes."),
        (
            "reliability",
            "Reliability of the gradients",
            "The part of a gradient's squared norm that is not the luck of the prompts drawn. Where it is near 0, a "
            "cosine near 0 tells nothing: noise has no direction.",
        ),
    ):
        lines = domain_lines(run, f"interference/{name}", colours)
        if lines:
            figure = {"data": lines, "layout": keyed(True, yaxis={"rangemode": "tozero"})}
            panels.append(Panel(title, figure, f"{title} by domain, {run.name}", height=270, reading=reading))
    return panels


def _thirds(count: int) -> list[tuple[str, int]]:
    """Return the parts of a series that get a matrix of their own; a short one is not cut."""
    return [("First third", 0), ("Last third", 2)] if count >= 9 else [("All measurements", -1)]


def _part(values: Sequence[float], part: int) -> Any:
    return values if part < 0 else np.array_split(np.asarray(values), 3)[part]


def reach_of_cosines(measured: Sequence[Mapping[Pair, Series]]) -> float:
    """Return the end of a scale that holds the cosines of all runs, averaged as the heat map over time does."""
    return reach_of([mean for pairs in measured for _, values in pairs.values() for mean in _windowed(values)])


def _windowed(values: Sequence[float]) -> list[float]:
    """Return about what the cells of the heat map over time show: means over windows of equal length."""
    return [float(part.mean()) for part in np.array_split(np.asarray(values), min(48, len(values)))]


def _over_runs(runs: Sequence[Family], key: str, title: str) -> Panel | None:
    traces: list[dict[str, Any]] = []
    for place, run in enumerate(runs):
        traces += curve(run, key, line=run_line(place))
    if not traces:
        return None
    return Panel(title, {"data": traces, "layout": keyed(False)}, f"{title}, by training step, all runs")


def _headed(run: Family, runs: Sequence[Family]) -> str:
    return run.title if len(runs) > 1 or run.many else ""
