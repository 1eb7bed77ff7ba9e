"""Interference between the domains of a run, as the run measured it: gradients against each other, and forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcpo_rl.analysis.reading.seeds import Family
from mcpo_rl.analysis.sections.curves import curve, domain_lines, keyed
from mcpo_rl.analysis.sections.matrices import Pair, by_pair, matrix_panel, ordered_pairs, over_time_panel, reach_of
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Panel, Section, Table
from mcpo_rl.analysis.sections.wording import listed, sign, signed
from mcpo_rl.scores import Estimate
from mcpo_rl.scores.estimators import SMALLEST_CLEAR, bootstrap_mean

BLOCKS = 20
"""Stretches of a run whose means are taken as independent: neighbouring steps are not."""
Series = tuple[list[int], list[float]]


def interference_section(runs: Sequence[Family], colours: Mapping[str, str]) -> Section:
    """Return cosines and norms of the domains' policy gradients over time, and what each domain lost of its best."""
    measured = [(run, by_pair(run.keys, "interference/cosine", run.series)) for run in runs]
    measured = [(run, pairs) for run, pairs in measured if pairs]
    # One scale for all runs: the same colour is the same cosine.
    reach = reach_of_cosines([pairs for _, pairs in measured])
    groups = [Group("Mean cosine over the run", _MEANS, table=cosine_table(measured))] if measured else []
    few = len(measured) <= MOST_SINGLE
    for place, (run, cosines) in enumerate(measured):
        panels = _cosine_panels(run, cosines, reach, every=few)
        panels += _by_domain(run, colours) if few else []
        groups.append(Group(_headed(run, runs), "" if place else _COSINES, tuple(panels), wide=True))
    conflict = _over_runs(runs, _CONFLICT_KEY, "Share of pairs in conflict")
    if conflict and len(measured) > 1:
        groups.append(Group("Conflict, all runs", _CONFLICT, (conflict,), wide=True))
    losses = [
        Panel(run.title, {"data": lines, "layout": keyed(True)}, f"Accuracy below its best by domain, {run.name}")
        for run in runs
        if (lines := domain_lines(run, "forgetting", colours))
    ]
    if losses:
        groups.append(Group("Forgetting", _FORGETTING, tuple(losses), wide=True))
    return Section(
        "interference",
        "Do the domains pull against each other?",
        "Interference",
        tuple(groups),
        (
            *(in_words(run.name, pairs) for run, pairs in measured),
            *(said for run, _ in measured if (said := term_in_words(run))),
        ),
        legend=tuple((run.title, run_line(n)) for n, run in enumerate(runs) if run.series(_CONFLICT_KEY)[0])
        if len(measured) > 1
        else (),
        missing="These runs did not measure the domains' policy gradients (`interference_steps` of the trainer).",
    )


MOST_SINGLE = 4
"""Up to so many runs are shown in every detail; of more, the page would hold a hundred figures."""
_CONFLICT_KEY = "interference/conflict"
_TERM = "interference/term"
_MEANS = f"With a 95% interval over stretches of the run, of {SMALLEST_CLEAR} or more. Bold: it can be told from 0."
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
    """Return which domains pull against each other or the same way, as far as that can be told."""
    groups: dict[str, list[str]] = {"pull against each other": [], "pull the same way": []}
    unclear = 0
    for pair in ordered_pairs(cosines):
        values = cosines[pair][1]
        mean = mean_over_blocks(values)
        unclear += not mean.clear
        if mean.clear:
            kind = "pull against each other" if mean.value < 0 else "pull the same way"
            negative = sum(value < 0 for value in values) / len(values)
            said = f"mean cosine {sign(mean.value)}, below 0 in {negative:.0%} of {len(values)} measurements"
            groups[kind].append(f"{' and '.join(ordered(pair))} {kind} ({said})")
    parts = [item for items in groups.values() for item in items]
    if not parts:
        return f"{name}: of no two domains can it be told which way their policy gradients pull."
    rest = f"; of {unclear} other pair{'s' if unclear > 1 else ''} it cannot be told" if unclear else ""
    return f"{name}: {'; '.join(parts)}{rest}."


def term_in_words(run: Family) -> str:
    """Return whose policy gradient the contrastive term pulls with or against; '' of a run that did not measure it."""
    said: dict[str, list[str]] = {"pulls with": [], "pulls against": []}
    domains = ordered(key.removeprefix(f"{_TERM}/") for key in run.keys if key.startswith(f"{_TERM}/"))
    means = {domain: mean_over_blocks(run.series(f"{_TERM}/{domain}")[1]) for domain in domains}
    for domain, mean in means.items():
        if mean.clear:
            said["pulls with" if mean.value > 0 else "pulls against"].append(f"{domain} ({sign(mean.value)})")
    parts = [f"{way} {listed(names)}" for way, names in said.items() if names]
    if not means:
        return ""
    rest = len(means) - sum(map(len, said.values()))
    if not parts:
        return (
            f"{run.name}: of no domain can it be told whether the contrastive term pulls with or against its gradient."
        )
    unclear = f"; of {rest} more it cannot be told" if rest else ""
    return f"{run.name}: the contrastive term {' and '.join(parts)}, by its mean cosine with their gradients{unclear}."


def in_brief(run: Family) -> list[str]:
    """Return what a summary should say of interference and forgetting: sentences, none where there is nothing."""
    sentences = []
    against = []
    for pair, (_, values) in by_pair(run.keys, "interference/cosine", run.series).items():
        mean = mean_over_blocks(values)
        if mean.clear and mean.value < 0:
            against.append(f"{' and '.join(ordered(pair))} ({sign(mean.value, 2)})")
    if against:
        sentences.append(f"Policy gradients pull against each other, by their mean cosine: {listed(against)}.")
    behind = []
    for domain in ordered(key.split("/")[1] for key in run.keys if key.startswith("forgetting/")):
        _, values = run.series(f"forgetting/{domain}")
        _, alarms = run.series(f"forgetting_alarm/{domain}")
        if values and (alarms[-1] > 0 if alarms else values[-1] > WORTH_SAYING):
            behind.append(f"{domain} by {values[-1]:.2f}" + (" (more than chance explains)" if alarms else ""))
    if behind:
        sentences.append(f"At the end below the best held-out accuracy of the run: {listed(behind)}.")
    return sentences


WORTH_SAYING = 0.02
"""How far below its best a domain is spoken of where the run did not test whether that is more than chance."""


def cosine_table(measured: Sequence[tuple[Family, Mapping[Pair, Series]]]) -> Table:
    """Return the mean cosine of every pair of domains, a row per run."""
    pairs = ordered_pairs(pair for _, found in measured for pair in found)
    rows, marked = [], set()
    for place, (run, found) in enumerate(measured):
        means = [mean_over_blocks(found[pair][1]) if pair in found else None for pair in pairs]
        rows.append((run.title, *("–" if mean is None else _mean_in_words(mean) for mean in means)))
        marked |= {(place, column) for column, mean in enumerate(means, 1) if mean is not None and mean.clear}
    columns = ("", *(" · ".join(ordered(pair)) for pair in pairs))
    return Table(columns, tuple(rows), frozenset(marked), "Mean cosine between the domains' policy gradients")


def _mean_in_words(mean: Estimate) -> str:
    """Return a mean with its interval; of a few measurements that would be far too narrow, so it is left out."""
    if mean.problems >= SMALLEST_CLEAR:
        return signed(mean)
    return f"{sign(mean.value)} ({mean.problems} measurement{'s' if mean.problems > 1 else ''})"


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


def _cosine_panels(run: Family, cosines: Mapping[Pair, Series], reach: float, *, every: bool) -> list[Panel]:
    domains = ordered(domain for pair in cosines for domain in pair)
    rows = {" · ".join(ordered(pair)): cosines[pair] for pair in ordered_pairs(cosines)}
    over_time = over_time_panel(
        "Cosine over the run",
        rows,
        label=f"Cosine between the domains' policy gradients over the steps of {run.name}",
        hover="%{y}, %{customdata}: %{z:+.3f}",
        reach=reach,
    )
    panels = [over_time] if over_time else []
    for title, part in _thirds(min(len(values) for _, values in cosines.values())) if every else []:
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
    return panels


def _by_domain(run: Family, colours: Mapping[str, str]) -> list[Panel]:
    panels = []
    for key, title, reading in (
        (
            "interference/share",
            "Share of the gradients' norms",
            "A domain with most of it decides where the step goes.",
        ),
        (
            "interference/reliability",
            "Reliability of the gradients",
            "The part of a gradient's squared norm that is not the luck of the prompts drawn. Where it is near 0, a "
            "cosine near 0 tells nothing: noise has no direction.",
        ),
        (
            _TERM,
            "Contrastive term and policy",
            "Cosine of the term's gradient with each domain's policy gradient. Above 0: a step for the term is one for "
            "the domain. Below 0: it takes some of it back. Near 0: it moves what the policy does not ask about.",
        ),
    ):
        lines = domain_lines(run, key, colours)
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
