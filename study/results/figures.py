"""The figures of docs/results.md, drawn from `results/`: PNG and SVG, in the style of the figures for papers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.analysis.paper.style import SOFT, draw_matrix, legend_below, panes, paper_style, save
from mcpo_rl.analysis.sections.matrices import reach_of
from mcpo_rl.analysis.sections.wording import sign
from mcpo_rl.data.procedural.conventions import SOURCE_DOMAIN
from study.results.dials import COSINE, EFFECT, EXPECTED
from study.results.differences import ACCURACY, AREA
from study.results.drawing import Curves, draw_against_chance, draw_band, draw_forest, trailing
from study.results.files import read_csv
from study.results.numbers import Results
from study.results.positives import DURING
from study.results.reading import MEAN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
WINDOW = 5
"""Steps of the trailing mean of learning curves."""


def write_figures(results: Path) -> list[Path]:
    """Write the figures that there is something to show in, and return the files; older ones of others are removed.

    Raises:
        RunError: A file cannot be read or written.
        MissingDependencyError: The `report` extra is not installed.
    """
    folder, written = results / "figures", []
    with paper_style():
        for name, draw in FIGURES.items():
            figure = draw(Results(results))
            if figure is not None:
                written += save(figure, folder, name, FORMATS)
            else:
                for kind in FORMATS:
                    (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return written


def curves(results: Results, of: str = "testbed") -> Figure | None:
    """Learning curves of GRPO and MCPO: a row of panes per setting, a pane per domain."""
    settings = [name for name in results.group(of) if name != "apart"]
    found = {name: _curves(results, name) for name in settings}
    settings = [name for name in settings if "grpo" in found[name]]
    if not settings:
        return None
    figure, axes = panes(len(settings) * len(results.domains), across=len(results.domains))
    for place, pane in enumerate(axes):
        setting = settings[place // len(results.domains)]
        domain = results.domains[place % len(results.domains)]
        for number, (method, label) in enumerate((("grpo", "GRPO"), ("mcpo", "MCPO"))):
            own = found[setting].get(method, {}).get(domain, {})
            if own:
                smooth = {seed: trailing(values, WINDOW) for seed, values in own.items()}
                draw_band(pane, smooth, number, label, unit=True)
        pane.set(title=f"{setting}: {domain}", ylim=(0, 1))
        if place >= len(axes) - len(results.domains):
            pane.set_xlabel("training step")
        if place % len(results.domains) == 0:
            pane.set_ylabel("accuracy")
    legend_below(figure, axes)
    return figure


def methods(results: Results) -> Figure | None:
    """Paired differences to GRPO of every method at the middle setting."""
    return _forest(results, "middle")


def sweep(results: Results) -> Figure | None:
    """Paired differences to GRPO of every setting and variant of the sweep."""
    return _forest(results, "sweep")


def cosines(results: Results) -> Figure | None:
    """Cosine between the gradients of two domains over the steps, with GRPO: a pane per pair, a line per setting."""
    found: dict[tuple[str, str], dict[str, dict[int, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in results.rows("dials", measure=COSINE):
        if row["comparison"] in results.testbed:
            found[row["from"], row["to"]][row["comparison"]][row["seed"]][row["step"]] = row["value"]
    if not found:
        return None
    figure, axes = panes(len(found))
    for pane, (pair, settings) in zip(axes, found.items(), strict=True):
        pane.axhline(0, color=SOFT, lw=0.8)
        for place, setting in enumerate(results.testbed):
            if setting in settings:
                draw_band(pane, settings[setting], place, setting)
        pane.set(title=" · ".join(pair), xlabel="training step")
    reach = max(abs(end) for pane in axes for end in pane.get_ylim())
    for pane in axes:
        pane.set_ylim(-reach, reach)
    axes[0].set_ylabel("gradient cosine")
    legend_below(figure, axes)
    return figure


def effects(results: Results) -> Figure | None:
    """What training on one domain alone did to every domain: a pane per setting."""
    settings = [name for name in (*EXPECTED, "middle") if results.dial(name, EFFECT, SOURCE_DOMAIN, SOURCE_DOMAIN)]
    if not settings:
        return None
    cells = {
        (setting, source, target): row
        for setting in settings
        for source in results.domains
        for target in results.domains
        if (row := results.dial(setting, EFFECT, source, target)) is not None
    }
    reach = reach_of([row["value"] for row in cells.values()])
    figure, axes = panes(len(settings), height=1.9, across=4)
    for place, (pane, setting) in enumerate(zip(axes, settings, strict=True)):
        own = {(a, b): row for (name, a, b), row in cells.items() if name == setting}
        draw_matrix(
            pane,
            results.domains,
            {pair: row["value"] for pair, row in own.items()},
            low=-reach,
            high=reach,
            text=lambda value: sign(value, 2),
            marks={pair: "*" for pair, row in own.items() if _leaves_out_0(row)},
        )
        pane.set(title=setting, xlabel="evaluated on", ylabel="trained on" if place == 0 else "")
    return figure


def positives(results: Results) -> Figure | None:
    """What the chosen positives have in common with their anchors (dots), against chance (bars)."""
    kinds = ("both careful", "same strategy", "same opening")
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in results.rows("positives_summary", when=DURING):
        if row["quantity"] in kinds and row["by_chance"] is not None:
            found[f"{row['comparison']}: {row['label']}"][row["quantity"]] = row
    if not found:
        return None
    figure, axes = panes(len(kinds), height=0.8 + 0.19 * len(found))
    for place, (pane, kind) in enumerate(zip(axes, kinds, strict=True)):
        draw_against_chance(pane, [own[kind] for own in found.values()])
        pane.set_yticks(range(len(found)), list(found) if place == 0 else [])
        pane.set(title=kind)
    figure.supxlabel("share of the pairs (dot), and by chance (bar)", fontsize=8)
    return figure


FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "curves": curves,
    "room-curves": partial(curves, of="room"),
    "methods": methods,
    "sweep": sweep,
    "cosines": cosines,
    "effects": effects,
    "positives": positives,
}
"""File name to figure."""


def _forest(results: Results, name: str) -> Figure | None:
    key = {"comparison": name, "minus": "grpo", "domain": MEAN}
    found = {
        quantity: {row["method"]: row for row in results.rows("differences", quantity=quantity, **key)}
        for quantity in (ACCURACY, AREA)
    }
    if not found[ACCURACY]:
        return None
    figure, axes = panes(2, height=0.7 + 0.19 * len(found[ACCURACY]), across=2)
    titles = {ACCURACY: "held-out accuracy minus GRPO", AREA: "area under the curve minus GRPO"}
    for place, (pane, (quantity, rows)) in enumerate(zip(axes, found.items(), strict=True)):
        empty = {"value": float("nan"), "low": None, "high": None, "clear": False}
        draw_forest(
            pane, [rows.get(method, empty | {"label": row["label"]}) for method, row in found[ACCURACY].items()]
        )
        pane.set(title=titles[quantity])
        if place:
            pane.set_yticklabels([])
    return figure


def _curves(results: Results, name: str) -> dict[str, dict[str, Curves]]:
    """Return the learning curves of a comparison by method and domain."""
    found: dict[str, dict[str, dict[int, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in read_csv(results.folder / name / "curves.csv"):
        found[row["method"]][row["domain"]][row["seed"]][row["step"]] = row["accuracy"]
    return {method: dict(own) for method, own in found.items()}


def _leaves_out_0(row: dict[str, Any]) -> bool:
    return row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
