"""The report: one self-contained HTML page about one or several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mcpo_rl.analysis.curves import contrastive_panels, domain_curves
from mcpo_rl.analysis.figures import accuracy_panel, borrowing_panel
from mcpo_rl.analysis.loading import RunData, load_runs
from mcpo_rl.analysis.palette import domain_colours, ordered, run_line
from mcpo_rl.analysis.panel import Panel
from mcpo_rl.analysis.rollouts import MOST_POINTS, SPACES, examples, map_data
from mcpo_rl.analysis.summary import compare_runs, summarize_run
from mcpo_rl.errors import MissingDependencyError
from mcpo_rl.runs.files import write_text


def write_report(runs: Sequence[str | Path], output: str | Path) -> Path:
    """Write the report about `runs` to `output` and return its path. What is missing in a run, the page says.

    The page needs no network: plotly.js is inside, and a content security policy forbids every request.

    Args:
        runs: Run directories, in the order in which they are shown; finished or not.
        output: The HTML file.

    Raises:
        RunError: One of `runs` is not a run directory, or the page could not be written.
        MissingDependencyError: The `report` extra is not installed.
    """
    plotly_js = _plotly_js()
    data = load_runs([Path(path) for path in runs])
    output = Path(output)
    write_text(output, _page(data, plotly_js))
    return output


def _page(runs: Sequence[RunData], plotly_js: str) -> str:
    from jinja2 import Environment, StrictUndefined

    domains = ordered(domain for run in runs for domain in run.domains)
    colours = domain_colours(domains)
    figures = _Figures()
    maps = [data for run in runs if (data := map_data(run, domains)) is not None]
    contrastive = [run for run in runs if run.is_contrastive]
    # Everything goes through the escaping of this environment; only our own files and the JSON are marked as safe.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("report.html")).render(
        css=_file("report.css"),
        js=_file("report.js"),
        plotly_js=plotly_js,
        title=" · ".join(run.name for run in runs),
        domains=domains,
        colours=colours,
        runs=[
            {"data": run, "summary": summarize_run(run, domains), "line": run_line(place)}
            for place, run in enumerate(runs)
        ],
        comparison=compare_runs(runs),
        accuracy=figures.add(accuracy_panel(runs, domains)),
        curves={heading: figures.add_all(p) for heading, p in domain_curves(runs, domains, colours).items()},
        contrastive=[
            {"name": run.name, "panels": [(figures.add(panel), text) for panel, text in contrastive_panels(run)]}
            for run in contrastive
        ],
        borrowing=figures.add_all([panel for run in contrastive if (panel := borrowing_panel(run)) is not None]),
        maps=maps,
        spaces=SPACES,
        most_points=MOST_POINTS,
        examples=[
            {"name": run.name, "step": found[0], "examples": found[1]}
            for run in runs
            if (found := examples(run, domains))
        ],
        page_data=_embedded(
            {"figures": figures.plots, "maps": maps, "domains": domains, "colours": colours, "spaces": SPACES}
        ),
    )


class _Figures:
    """Collects the figures of the page: the template places them by number, the script draws them."""

    def __init__(self) -> None:
        self.plots: list[dict[str, Any]] = []

    def add(self, panel: Panel | None) -> dict[str, Any] | None:
        if panel is None:
            return None
        self.plots.append(panel.figure)
        return {"number": len(self.plots) - 1, "panel": panel}

    def add_all(self, panels: Sequence[Panel]) -> list[dict[str, Any] | None]:
        return [self.add(panel) for panel in panels]


def _embedded(data: object) -> str:
    """Return `data` as JSON that cannot end the script element it stands in, whatever a model wrote."""
    text = json.dumps(
        data, allow_nan=False, separators=(",", ":")
    )  # ASCII only: U+2028 and lone surrogates are escaped
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return resources.files("mcpo_rl.analysis").joinpath("page", name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    try:
        import jinja2  # noqa: F401  (asked for here, so that the error comes before the runs are read)
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingDependencyError(
            f"The report needs {error.name}, which is not installed: pip install 'mcpo-rl[report]'"
        ) from error
    source: str = get_plotlyjs()
    return source
