"""Marks of the study's figures: a curve with its band over seeds, a forest of differences, shares against chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mcpo_rl.analysis.paper.style import DASHES, MARKERS, SOFT, shown
from mcpo_rl.analysis.sections.palette import run_line
from mcpo_rl.comparison.seeds import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[int, Mapping[int, float]]
"""Seed to step to value."""
CLEAR, UNCLEAR = "#0072B2", "#8a93a0"


def trailing(values: Mapping[int, float], window: int) -> dict[int, float]:
    """Return at every step the mean over the last `window` steps, fewer at the beginning."""
    steps = sorted(values)
    means = {}
    for step in steps:
        own = [values[other] for other in steps if step - window < other <= step]
        means[step] = sum(own) / len(own)
    return means


def draw_band(pane: Axes, curves: Curves, place: int, label: str, *, unit: bool = False) -> None:
    """Draw the mean over the seeds and Student's 95% band, at the steps that all seeds have.

    Args:
        pane: Where.
        curves: At least one.
        place: Which of the lines of the figure: decides colour, dash and marker.
        label: For the legend.
        unit: Values lie between 0 and 1.
    """
    steps = sorted(set.intersection(*(set(own) for own in curves.values())))
    found = [over_seeds({seed: own[step] for seed, own in curves.items()}, unit=unit) for step in steps]
    line = run_line(place)
    colour = str(line["color"])
    banded = [(step, one) for step, one in zip(steps, found, strict=True) if one.over == "seeds"]
    if banded:
        pane.fill_between(
            [step for step, _ in banded],
            [one.low for _, one in banded],
            [one.high for _, one in banded],
            color=colour,
            alpha=0.18,
            lw=0,
        )
    pane.plot(
        steps,
        [one.value for one in found],
        color=colour,
        ls=DASHES[str(line["dash"])],
        marker=MARKERS[place],
        ms=3,
        markevery=max(1, len(steps) // 5),
        label=shown(label),
    )


def draw_forest(pane: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw differences with their intervals, the first on top: clear ones filled and blue, the others open and grey."""
    pane.axvline(0, color=SOFT, lw=0.8)
    for height, row in enumerate(rows):
        colour = CLEAR if row["clear"] else UNCLEAR
        reach = None
        if row["low"] is not None:
            reach = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        pane.errorbar(
            row["value"], height, xerr=reach, fmt="o" if row["clear"] else "s", color=colour,
            mfc=colour if row["clear"] else "white", ms=4, capsize=2, lw=1.1,
        )  # fmt: skip
    pane.set(ylim=(len(rows) - 0.5, -0.5))
    pane.set_yticks(range(len(rows)), [str(row["label"]) for row in rows])
    pane.grid(axis="y", visible=False)


def draw_against_chance(pane: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw shares with their intervals (dots) and what chance would give (bars across), the first on top."""
    for height, row in enumerate(rows):
        reach = None
        if row["low"] is not None:
            reach = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        pane.errorbar(row["value"], height, xerr=reach, fmt="o", color=CLEAR, ms=4, capsize=2, lw=1.1)
        pane.plot(row["by_chance"], height, "|", color="#D55E00", ms=11, mew=1.8)
    pane.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1))
    pane.grid(axis="y", visible=False)
