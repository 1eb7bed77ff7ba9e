"""How figures for papers look and are written: one column or two wide, small type, the same bytes every time.

Everything is set for the figure at hand: matplotlib's global state, its windows and its `matplotlibrc` stay out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.analysis.sections.curves import smooth
from mcpo_rl.analysis.sections.palette import run_line
from mcpo_rl.errors import ConfigError, MissingDependencyError, nearest
from mcpo_rl.runs.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
COLUMN, PAGE = 3.35, 6.9
"""Width in inches of one column, and of both, of a two-column paper."""
INK, SOFT, GRID = "#1b1f26", "#5b6472", "#e4e7eb"
ORANGE, BLUE = "#D55E00", "#0072B2"
DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (5, 2)), "dot": (0, (1, 1.6)), "dashdot": (0, (5, 1.6, 1, 1.6))}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""A second sign beside the colour, for those who do not tell colours apart and for print in black and white."""

_FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Yu Gothic",
)
_STYLE = {
    "text.parse_math": False,  # names come from data: a dollar sign in one is no formula
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # looks the same on every machine
    "svg.hashsalt": "mcpo-rl",
    "pdf.fonttype": 42,  # publishers refuse type 3
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in this style, whatever the user's `matplotlibrc` says.

    Raises:
        MissingDependencyError: The `report` extra is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "Figures need matplotlib, which is not installed: pip install 'mcpo-rl[report]'"
        ) from error
    # All but the backend, which a context would not give back, and which is not used: no window is opened.
    defaults: dict[Any, Any] = {name: matplotlib.rcParamsDefault[name] for name in _names(matplotlib.rcParamsDefault)}
    with matplotlib.rc_context(defaults | _STYLE | {"font.family": _fonts()}):
        yield


def _fonts() -> list[str]:
    """Return matplotlib's own font, then those of this machine that have the glyphs it lacks."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in _FALLBACKS if name in installed)]


def _names(parameters: Mapping[Any, Any]) -> list[Any]:
    return [name for name in parameters if not name.startswith("backend")]


def panes(count: int, *, height: float = 1.75, across: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panes, `across` of them as wide as a page, each `height` inches high."""
    from matplotlib.figure import Figure

    columns = min(across, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(COLUMN, PAGE * columns / across), height * rows), layout="constrained")
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in every[count:]:
        unused.set_axis_off()
    return figure, every[:count]


def legend_below(figure: Figure, axes: Sequence[Axes], across: int = 4) -> None:
    """Name every line of the panes once, below them; a single one needs no name."""
    named: dict[str, Any] = {}
    for pane in axes:
        for handle, label in zip(*pane.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if len(named) > 1:
        wide = 0.5 + 0.06 * max(len(label) for label in named)  # inches of an entry, near enough
        columns = max(1, min(across, len(named), int(figure.get_figwidth() / wide)))
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns)


def check_formats(formats: Sequence[str]) -> None:
    """Raise for a format that is not one of `FORMATS`.

    Raises:
        ConfigError: With the nearest one.
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"figures are written as {', '.join(FORMATS)}, not as {name!r}.{nearest(name, FORMATS)}")


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write `figure` once in each format and return the files. Nothing half-written stays behind.

    Raises:
        RunError: A file could not be written.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, and the same for every format
    paths = []
    for kind in formats:
        path = folder / f"{name}.{kind}"
        # Without a date in the file the same run gives the same bytes.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=300, bbox_inches="tight", pad_inches=0.03, metadata=metadata)
        paths.append(path)
    return paths


def shown(name: str) -> str:
    """Return a name as matplotlib takes it: one that begins with `_` would be left out of the legend."""
    return f" {name}" if name.startswith("_") else name


def draw_line(pane: Axes, steps: Sequence[int], values: Sequence[float], place: int, name: str) -> None:
    """Draw one run: a faint raw line below a smoothed one with a few markers."""
    line = run_line(place)
    colour = str(line["color"])
    if len(steps) > 1:
        pane.plot(steps, values, color=colour, lw=0.5, alpha=0.3)
    marker = MARKERS[place % len(MARKERS)]
    pane.plot(
        steps,
        smooth(values),
        color=colour,
        ls=DASHES[str(line["dash"])],
        marker=marker,
        ms=3,
        markevery=max(1, len(steps) // 5),
        label=shown(name),
    )


def draw_matrix(
    pane: Axes,
    domains: Sequence[str],
    values: Mapping[tuple[str, str], float],
    *,
    low: float,
    high: float,
    text: Callable[[float], str],
    rows: Sequence[str] | None = None,
    marks: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Draw a heat map with its numbers.

    Args:
        pane: Where.
        domains: Names of the columns, in their order.
        values: By (row, column); pairs without a value stay empty.
        low: The value of the scale's lower end: 0, or what lies opposite to `high`.
        high: The value of the upper end.
        text: How a value is written.
        rows: Names of the rows where they are not the columns'.
        marks: Put behind a number.
    """
    from matplotlib.colors import LinearSegmentedColormap

    # As on the page: orange and blue, which every kind of colour vision tells apart, over white at 0.
    ends = ["#ffffff", BLUE] if low == 0 else [ORANGE, "#ffffff", BLUE]
    colours = LinearSegmentedColormap.from_list("", ends)
    names = list(rows or domains)
    cells = [[values.get((row, column), float("nan")) for column in domains] for row in names]
    pane.imshow(cells, vmin=low, vmax=high, cmap=colours, aspect="equal")
    for (row, column), value in values.items():
        place = (list(domains).index(column), names.index(row))
        red, green, blue, _ = colours((value - low) / (high - low))
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
        pane.text(
            *place,
            text(value) + (marks or {}).get((row, column), ""),
            ha="center",
            va="center",
            color="white" if dark else INK,
            fontsize=7.5,
        )
    pane.set_xticks(range(len(domains)), domains)
    pane.set_yticks(range(len(names)), names)
    pane.grid(visible=False)
    pane.tick_params(length=0)
    pane.spines[:].set_visible(False)
