"""The report: one self-contained HTML page about one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mcpo_rl.analysis.explorer.packing import embedded
from mcpo_rl.analysis.explorer.probe_map import KINDS, probe_runs
from mcpo_rl.analysis.explorer.rollouts import SPACES, explorer_runs
from mcpo_rl.analysis.reading.loading import RunData, loaded
from mcpo_rl.analysis.sections.order import sections
from mcpo_rl.analysis.sections.palette import domain_colours, ordered
from mcpo_rl.analysis.sections.panel import Panel
from mcpo_rl.analysis.sections.summary import overview
from mcpo_rl.errors import MissingDependencyError
from mcpo_rl.runs.files import write_text

SCRIPTS = ("base.js", "store.js", "plane.js", "map.js", "list.js", "reader.js", "explorer.js", "probe.js", "start.js")
"""One script in this order: each uses only what stands before it."""
STYLES = ("report.css", "explorer.css")


def write_report(runs: Sequence[str | Path | RunData], output: str | Path) -> Path:
    """Write the report about `runs` to `output` and return its path. What is missing in a run, the page says.

    The page needs no network: plotly.js is inside, and a content security policy forbids every request.

    Args:
        runs: Run directories and directories of comparisons, in the order in which they are shown; finished or not. Or
            runs that were read already.
        output: The HTML file.

    Raises:
        RunError: One of `runs` is not a run directory, or the page could not be written.
        MissingDependencyError: The `report` extra is not installed.
    """
    plotly_js = _plotly_js()
    data = loaded(runs)
    output = Path(output)
    write_text(output, _page(data, plotly_js))
    return output


def _page(runs: Sequence[RunData], plotly_js: str) -> str:
    from jinja2 import Environment, StrictUndefined

    domains = ordered(domain for run in runs for domain in run.domains)
    colours = domain_colours(domains)
    explorer, probes = explorer_runs(runs, domains), probe_runs(runs, domains)
    parts = sections(runs)
    figures = _Figures()
    # Everything goes through the escaping of this environment; only our own files and the JSON are marked as safe.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(number=figures.number)
    template = environment.from_string(_file("report.html"))
    facts = {
        "css": "".join(_file(name) for name in STYLES),
        "js": "".join(_file(name) for name in SCRIPTS),
        "plotly_js": plotly_js,
        "overview": overview(runs),
        "links": [
            ("summary", "Summary"),
            *((part.anchor, part.short) for part in parts),
            *([("probe", "Probe")] if probes else []),
            ("rollouts", "Rollouts"),
            ("about", "About"),
        ],
        "domains": domains,
        "colours": colours,
        "runs": runs,
        "sections": parts,
        "explorer": explorer,
        "probes": probes,
    }
    body = template.render(**facts)
    data = {
        "figures": figures.plots,
        "domains": domains,
        "colours": colours,
        "spaces": SPACES,
        "probeKinds": KINDS,
        "probes": [run.name for run in probes],
        "explorer": [{"name": run.name, "shown": run.shown, "kept": run.kept} for run in explorer],
    }
    return body.replace(_DATA, embedded(data), 1)


_DATA = "<!-- the page's data -->"


class _Figures:
    """Numbers the figures as the template places them; the script draws them by their numbers."""

    def __init__(self) -> None:
        self.plots: list[dict[str, Any]] = []

    def number(self, panel: Panel) -> int:
        self.plots.append(panel.figure)
        return len(self.plots) - 1


def _file(name: str) -> str:
    return resources.files("mcpo_rl.analysis").joinpath("page", name).read_text(encoding="utf-8")


def check_installed() -> None:
    """Refuse to begin without what the page needs.

    Raises:
        MissingDependencyError: The `report` extra is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import plotly.offline  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"The report needs {error.name}, which is not installed: pip install 'mcpo-rl[report]'"
        ) from error


def _plotly_js() -> str:
    check_installed()
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source
