"""The geometry of the probe set over the checkpoints, as figures and in words. Formulas: docs/geometry.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcpo_rl.analysis.reading.seeds import Family
from mcpo_rl.analysis.sections.curves import curve, domain_lines, keyed
from mcpo_rl.analysis.sections.matrices import Pair, by_pair, matrix_panel
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Panel, Section

MOST_SINGLE = 4
"""Up to so many runs are shown domain by domain; of more, the page would hold a hundred figures."""

OVERALL = {
    "separability": (
        "Told apart: separability",
        "How well a linear classifier tells the domains of unseen problems apart. 1 / number of domains is chance.",
    ),
    "overlap": (
        "Together: overlap of correct rollouts",
        "Other domains' share among the nearest correct rollouts. 0: apart. 1: mixed as if drawn by lot.",
    ),
    "verdict_transfer": (
        "Shared sense of correct",
        "What marks a correct rollout of one domain, applied to another. 0.5 is chance.",
    ),
    "distance": ("Distance between domains", "Of the domains' centres, in widths of a domain."),
    "domain_share": ("Variance between domains", "Share of the whole variance that lies between the domains."),
    "cka": ("Likeness to the start: CKA", "1: as the model that training started from, up to a turn and a scaling."),
    "drift": ("Way from the start", "How far the rollouts moved, in widths of the set before training."),
    "dimensions": ("Directions in use", "A fall tells of a collapse."),
}
"""Measures with a curve per run: title, and how to read it."""
BY_DOMAIN = {
    "alignment": ("Alignment", "Mean squared distance of a domain's correct rollouts. Lower: closer. 2: unrelated."),
    "uniformity": ("Uniformity", "Lower: more evenly spread. 0: all in one point."),
    "overlap": ("Overlap", "Share of other domains among the nearest correct rollouts, over chance."),
    "spread": ("Width", "Of each domain, in widths of the whole set."),
    "cka": ("Likeness to the start: CKA", "Of each domain's rollouts."),
    "verdict": ("Correct told from incorrect", "On unseen problems of the domain. 0.5 is chance."),
}
"""Measures with a curve per domain."""


def geometry_section(runs: Sequence[Family], colours: Mapping[str, str]) -> Section:
    """Return how the domains lie in the policy's hidden states over the checkpoints: distinct, and yet together."""
    probed = [(place, run) for place, run in enumerate(runs) if any(key.startswith("probe/") for key in run.keys)]
    overall = []
    for name, (title, reading) in OVERALL.items():
        traces = [trace for place, run in probed for trace in curve(run, f"probe/{name}", line=run_line(place))]
        if traces:
            label = f"{title}, at each checkpoint, all runs"
            figure = {"data": traces, "layout": keyed(False)}
            overall.append(Panel(title, figure, label, height=240, reading=reading))
    groups = [Group("", panels=tuple(overall), wide=True)] if overall else []
    for _, run in probed if len(probed) <= MOST_SINGLE else []:
        panels = (*_matrices(run), *_by_domain(run, colours))
        if panels:
            heading = "By domain" if len(probed) == 1 else f"By domain: {run.title}"
            groups.append(Group(heading, panels=panels, wide=True))
    reading = (
        "A fixed set of rollouts is put to the model at the start and at each checkpoint: what moves is the model, not "
        "the sample. Harmonious but distinct would be: domains still told apart, and correct rollouts yet overlapping."
    )
    if len(probed) > MOST_SINGLE:
        reading += " Reports about fewer runs also show every domain by itself."
    return Section(
        "geometry",
        "Geometry of the representations",
        "Geometry",
        tuple(groups),
        tuple(f"{run.name}: {said}" for _, run in probed if (said := in_words(run))),
        legend=tuple((run.title, run_line(place)) for place, run in probed) if len(probed) > 1 else (),
        reading=reading,
        missing="No probe set was recorded with these runs; `mcpo-rl probe RUN` does it for checkpoints on disk.",
    )


def in_words(run: Family) -> str:
    """Return the first and the last value of what tells of harmony and of distinctness, as a sentence; '' without."""
    parts = []
    for name, said in (
        ("separability", "domains are told apart with accuracy"),
        ("overlap", "overlap of the domains' correct rollouts (1 is chance)"),
        ("verdict_transfer", "what marks a correct rollout carries over to another domain with AUC"),
    ):
        _, values = run.series(f"probe/{name}")
        if len(values) > 1:
            parts.append(f"{said} {values[0]:.2f} at first, {values[-1]:.2f} at the end")
        elif values:
            parts.append(f"{said} {values[0]:.2f}")
    _, cka = run.series("probe/cka")
    if cka:
        parts.append(f"CKA with the start {cka[-1]:.2f}")
    return "; ".join(parts) + "." if parts else ""


def _by_domain(run: Family, colours: Mapping[str, str]) -> list[Panel]:
    panels = []
    for name, (title, reading) in BY_DOMAIN.items():
        lines = domain_lines(run, f"probe/{name}", colours)
        if lines:
            label = f"{title} by domain at each checkpoint, {run.name}"
            panels.append(Panel(title, {"data": lines, "layout": keyed(True)}, label, height=260, reading=reading))
    return panels


def _matrices(run: Family) -> list[Panel]:
    """Return who lies how far from whom, and whose sense of correct holds for whom, at the end of training."""
    panels = []
    distances = by_pair(run.keys, "probe/distance", run.series)
    if distances:
        both = {pair: values for (a, b), (_, values) in distances.items() for pair in ((a, b), (b, a))}
        last = {pair: values[-1] for pair, values in both.items()}
        panels.append(
            matrix_panel(
                "Distance between domains",
                _domains(last),
                last,
                label=f"Distance between the centres of every two domains, first and last checkpoint, {run.name}",
                texts={pair: _first_to_last(values) for pair, values in both.items()},
                hover="%{y} and %{x}: %{z:.2f}",
                high=max(2.0, *last.values()),
                reading="In widths of a domain; at the first checkpoint → at the last.",
            )
        )
    transfer = by_pair(run.keys, "probe/verdict_transfer", run.series)
    if transfer:
        above = {pair: values[-1] - 0.5 for pair, (_, values) in transfer.items()}
        panels.append(
            matrix_panel(
                "Shared sense of correct",
                _domains(above),
                above,
                label=f"How well what marks a correct rollout of one domain marks one of another, {run.name}",
                texts={pair: _first_to_last(values) for pair, (_, values) in transfer.items()},
                hover="from %{y} to %{x}: %{z:+.2f} over chance",
                reach=0.5,
                rows="learned on",
                columns="judged on",
                reading="AUC at the first checkpoint → at the last; 0.5 is chance.",
            )
        )
    return panels


def _first_to_last(values: Sequence[float]) -> str:
    return f"{values[0]:.2f}<br>→ {values[-1]:.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def _domains(values: Mapping[Pair, float]) -> list[str]:
    return ordered(domain for pair in values for domain in pair)
