"""Plain figures for papers, beside the report: white ground, small type, PNG and SVG.

Each figure is a function from the runs to a matplotlib figure, or to None where the runs have nothing to show in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.analysis.paper.style import (
    MARKERS,
    SOFT,
    check_formats,
    draw_line,
    draw_matrix,
    legend_below,
    panes,
    paper_style,
    save,
    shown,
)
from mcpo_rl.analysis.reading.comparison import ComparisonData, read_comparison
from mcpo_rl.analysis.reading.loading import RunData, loaded
from mcpo_rl.analysis.reading.seeds import Family, families
from mcpo_rl.analysis.sections.comparison import method_lines
from mcpo_rl.analysis.sections.effects import effect_matrix, short_name
from mcpo_rl.analysis.sections.figures import borrowed, shares_of
from mcpo_rl.analysis.sections.interference import reach_of_cosines
from mcpo_rl.analysis.sections.matrices import by_pair, ordered_pairs, reach_of
from mcpo_rl.analysis.sections.palette import domain_colours, ordered, run_line
from mcpo_rl.analysis.sections.wording import sign
from mcpo_rl.errors import RunError
from mcpo_rl.scores import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """What the figures are drawn from."""

    runs: Sequence[RunData]
    families: Sequence[Family]
    domains: Sequence[str]
    colours: Mapping[str, str]


def write_figures(
    runs: Sequence[str | Path | RunData], folder: str | Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write the figures about `runs` into `folder` and return the files; figures without data are left out.

    Args:
        runs: Run directories or comparisons, in the order in which they are shown; or runs that were read already.
        folder: Where to; made if it is not there. Files of the same names are replaced.
        formats: Of `png`, `svg` and `pdf`.

    Raises:
        ConfigError: A format that is none of these.
        RunError: One of `runs` is not a run directory, or a file could not be written.
        MissingDependencyError: The `report` extra is not installed.

    Example:
        >>> write_figures(["runs/grpo", "runs/mcpo"], "figures")  # doctest: +SKIP
    """
    check_formats(formats)
    with paper_style():
        data = loaded(runs, most_steps=0)
        domains = ordered(domain for run in data for domain in run.domains)
        drawn = Drawn(data, families(data), domains, domain_colours(domains))
        written = []
        for name, draw in FIGURES.items():
            figure = draw(drawn)
            if figure is not None:
                written += save(figure, Path(folder), name, formats)
    return written


def accuracy_curves(drawn: Drawn) -> Figure | None:
    """Accuracy of the training rollouts, a pane per domain, a line per run."""
    return _curves(drawn, "domain/{}/accuracy", "training accuracy", top=1.0)


def length_curves(drawn: Drawn) -> Figure | None:
    """Completion length, a pane per domain, a line per run."""
    return _curves(drawn, "domain/{}/completion_length", "completion tokens")


def held_out_accuracy(drawn: Drawn) -> Figure | None:
    """Held-out accuracy before (open) and after training, with 95% intervals over the problems."""
    judged = [(place, run) for place, run in enumerate(drawn.runs) if run.end is not None]
    domains = [d for d in drawn.domains if any(_accuracy(run, "end", d) is not None for _, run in judged)]
    if not domains:
        return None
    figure, (pane,) = panes(1, height=0.7 + len(domains) * (0.25 + 0.16 * len(judged)), across=2)
    step = min(0.2, 0.7 / len(judged))
    for row, (place, run) in enumerate(judged):
        colour, marker = str(run_line(place)["color"]), MARKERS[place % len(MARKERS)]
        heights = {domain: number + (row - (len(judged) - 1) / 2) * step for number, domain in enumerate(domains)}
        for domain, height in heights.items():
            before, after = _accuracy(run, "start", domain), _accuracy(run, "end", domain)
            if after is None:
                continue
            if before is not None:
                pane.plot([before.value, after.value], [height] * 2, color=colour, lw=0.8, ls=":")
                pane.plot(before.value, height, marker, mfc="white", mec=colour, ms=4.5)
            reach = [[after.value - after.low], [after.high - after.value]]
            pane.errorbar(after.value, height, xerr=reach, fmt=marker, color=colour, ms=4.5, capsize=2, lw=1.2)
        pane.plot([], [], marker, color=colour, ms=4.5, label=shown(run.name))
    pane.set(xlim=(0, 1), xlabel="held-out accuracy", ylim=(len(domains) - 0.5, -0.5))
    pane.set_yticks(range(len(domains)), domains)
    pane.grid(axis="y", visible=False)
    legend_below(figure, [pane], across=2)
    return figure


def gradient_cosines(drawn: Drawn) -> Figure | None:
    """Cosine between the domains' policy gradients over the steps, a pane per pair, a line per run."""
    measured = [by_pair(run.keys, "interference/cosine", run.series) for run in drawn.families]
    pairs = ordered_pairs(pair for found in measured for pair in found)
    if not pairs:
        return None
    reach = reach_of_cosines(measured)
    figure, axes = panes(len(pairs))
    for pane, pair in zip(axes, pairs, strict=True):
        pane.axhline(0, color=SOFT, lw=0.8)
        for place, found in enumerate(measured):
            if pair in found:
                steps, values = found[pair]
                draw_line(pane, steps, values, place, drawn.families[place].title)
        pane.set(title=" · ".join(ordered(pair)), ylim=(-reach, reach), xlabel="training step")
    axes[0].set_ylabel("gradient cosine")
    legend_below(figure, axes)
    return figure


def borrowing(drawn: Drawn) -> Figure | None:
    """Who borrows from whom: the share of each domain's positives that every other domain supplied, a pane per run."""
    found = [(run, counts) for run in drawn.families if (counts := borrowed(run))]
    if not found:
        return None
    figure, axes = panes(len(found), height=2.2)
    for pane, (run, counts) in zip(axes, found, strict=True):
        domains = ordered(domain for pair in counts for domain in pair)
        draw_matrix(pane, domains, shares_of(counts), low=0.0, high=1.0, text="{:.0%}".format)
        pane.set(title=run.title if len(found) > 1 else "", xlabel="supplied by", ylabel="anchors of")
    return figure


def cosine_matrices(drawn: Drawn) -> Figure | None:
    """Mean cosine between the domains' policy gradients over the run, a pane per run."""
    found = [(run, by_pair(run.keys, "interference/cosine", run.series)) for run in drawn.families]
    found = [(run, pairs) for run, pairs in found if pairs]
    if not found:
        return None
    means = [{pair: sum(values) / len(values) for pair, (_, values) in pairs.items()} for _, pairs in found]
    reach = reach_of_cosines([{pair: ([0], [value]) for pair, value in values.items()} for values in means])
    figure, axes = panes(len(found), height=2.2)
    for pane, (run, _), values in zip(axes, found, means, strict=True):
        domains = ordered(domain for pair in values for domain in pair)
        both = {**values, **{(b, a): value for (a, b), value in values.items()}}
        draw_matrix(pane, domains, both, low=-reach, high=reach, text=lambda value: sign(value, 2))
        pane.set(title=run.title if len(found) > 1 else "")
    return figure


def comparison(drawn: Drawn) -> Figure | None:
    """Held-out accuracy of every method of a comparison: mean and interval over the seeds, single seeds as dots."""
    data = next((found for run in drawn.runs if (found := _result(run)) is not None), None)
    names = [] if data is None else [*data.domains, ""]
    if data is None or not any(row.mean.known for row in data.rows):
        return None
    across = min(4, len(names))
    figure, axes = panes(len(names), height=0.55 + 0.19 * len(data.rows), across=across)
    lines = method_lines(drawn.families, data.path)
    for place, (pane, name) in enumerate(zip(axes, names, strict=True)):
        start = data.start.get(name) if name else data.start_mean
        if start is not None and start.known:
            pane.axvline(start.value, color=SOFT, lw=0.8, ls=":")
        for row, method in enumerate(data.rows):
            value = method.accuracy.get(name) if name else method.mean
            if value is None or not value.known:
                continue
            colour = str(lines.get(method.method, run_line(row))["color"])
            pane.plot(list(value.seeds.values()), [row] * len(value.seeds), "o", color=colour, ms=2.2, alpha=0.5, mew=0)
            reach = [[value.value - value.low], [value.high - value.value]] if isfinite(value.low) else None
            marker = MARKERS[row % len(MARKERS)]
            pane.errorbar(value.value, row, xerr=reach, fmt=marker, color=colour, ms=4, capsize=1.8, lw=1.1)
        pane.set(title=shown(name or "mean of domains"), ylim=(len(data.rows) - 0.5, -0.5))
        pane.set_yticks(range(len(data.rows)), [r.label for r in data.rows] if place % across == 0 else [])
        pane.grid(axis="y", visible=False)
    figure.supxlabel("held-out accuracy", fontsize=8)
    return figure


def effects(drawn: Drawn) -> Figure | None:
    """What was trained on against what was evaluated: the change of held-out accuracy."""
    matrix = effect_matrix(drawn.runs)
    if not matrix.rows:
        return None
    names = {row: short_name(row, matrix) for row in matrix.rows}
    cells = {(names[row], column): cell for (row, column), cell in matrix.cells.items()}
    values = {pair: cell.value for pair, cell in cells.items()}
    figure, (pane,) = panes(1, height=0.8 + 0.5 * len(matrix.rows), across=2)
    reach = reach_of(list(values.values()))
    stars = {pair: "*" if cell.clear else "" for pair, cell in cells.items()}
    draw_matrix(
        pane,
        matrix.columns,
        values,
        low=-reach,
        high=reach,
        text=lambda value: sign(value, 2),
        rows=[names[row] for row in matrix.rows],
        marks=stars,
    )
    pane.set(xlabel="evaluated on (* leaves out 0)", ylabel="trained on")
    return figure


def geometry(drawn: Drawn) -> Figure | None:
    """How the domains lie in the hidden states over the checkpoints, a line per run."""
    names = [n for n in GEOMETRY if any(run.series(f"probe/{n}")[0] for run in drawn.families)]
    if not names:
        return None
    figure, axes = panes(len(names), across=4, height=1.6)
    for pane, name in zip(axes, names, strict=True):
        for place, run in enumerate(drawn.families):
            steps, values = run.series(f"probe/{name}")
            if steps:
                draw_line(pane, steps, values, place, run.title)
        pane.set(title=GEOMETRY[name], xlabel="training step")
    legend_below(figure, axes)
    return figure


GEOMETRY = {
    "separability": "separability",
    "overlap": "overlap",
    "verdict_transfer": "verdict transfer",
    "cka": "CKA with the start",
}


FIGURES: dict[str, Callable[[Drawn], Any]] = {
    "accuracy_curves": accuracy_curves,
    "length_curves": length_curves,
    "held_out_accuracy": held_out_accuracy,
    "gradient_cosines": gradient_cosines,
    "cosine_matrices": cosine_matrices,
    "borrowing": borrowing,
    "comparison": comparison,
    "effects": effects,
    "geometry": geometry,
}
"""File name to figure."""


def _curves(drawn: Drawn, key: str, label: str, top: float | None = None) -> Figure | None:
    domains = [d for d in drawn.domains if any(run.series(key.format(d))[0] for run in drawn.families)]
    if not domains:
        return None
    figure, axes = panes(len(domains))
    for pane, domain in zip(axes, domains, strict=True):
        for place, run in enumerate(drawn.families):
            steps, values = run.series(key.format(domain))
            if steps:
                draw_line(pane, steps, values, place, run.title)
        pane.set(title=shown(domain), xlabel="training step")
        pane.set_ylim(0, top)
    axes[0].set_ylabel(label)
    legend_below(figure, axes)
    return figure


def _result(run: RunData) -> ComparisonData | None:
    try:
        return read_comparison(run.comparison) if run.comparison is not None else None
    except RunError:  # the report says so; the figures of the runs are drawn all the same
        return None


def _accuracy(run: RunData, when: str, domain: str) -> Estimate | None:
    evaluation = run.start if when == "start" else run.end
    summary = evaluation.domains.get(domain) if evaluation else None
    return summary.accuracy if summary is not None and summary.accuracy.problems else None
