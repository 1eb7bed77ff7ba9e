"""`mcpo-rl report`: one HTML file about one or several runs, and the figures of it for a paper."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "report",
        help="write one self-contained HTML file about one or several runs",
        description="Write one self-contained HTML file about one or several runs, finished or not: a summary in\n"
        "words, curves per domain, interference between the domains, who borrows from whom, the geometry of the\n"
        "representations, and every kept rollout with its verdict and the rollouts that it was compared with.\n"
        "It needs no network to be read. Beside it, a folder with plain figures for a paper.",
        epilog="examples:\n"
        "  mcpo-rl report runs/grpo runs/mcpo\n"
        "  mcpo-rl report runs/mcpo -o mcpo.html --open\n"
        "  mcpo-rl report runs/compare --figures figures --formats pdf     a comparison stands for all its runs",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run directory, or the directory of a comparison"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="where to write it; in a directory that exists, its report.html (default: %(default)s)",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="where to write the figures (default: beside the report, report_figures for report.html)",
    )
    parser.add_argument(
        "--formats",
        type=lambda text: [name.strip().lower() for name in text.split(",") if name.strip()],
        default=["png", "svg"],
        metavar="LIST",
        help="of the figures: png, svg, pdf (default: png,svg)",
    )
    parser.add_argument("--no-figures", action="store_true", help="write the page alone")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")


def run(args: argparse.Namespace) -> int:
    """Write the report and the figures; print where they are."""
    from mcpo_rl.analysis import write_report
    from mcpo_rl.analysis.reading.loading import load_runs
    from mcpo_rl.analysis.report import check_installed
    from mcpo_rl.errors import ConfigError

    if args.no_figures and args.figures is not None:
        raise ConfigError("--figures names a folder and --no-figures asks for none; give one of them.")
    check_installed()
    runs = load_runs(args.runs)
    output = args.output / "report.html" if args.output.is_dir() else args.output
    figures = ""
    if not args.no_figures:  # first: what can be wrong with them is said before anything is written
        from mcpo_rl.analysis.paper.figures import write_figures

        folder = args.figures or output.with_name(f"{output.stem}_figures")
        written = write_figures(runs, folder, args.formats)
        figures = f"{folder}/ ({len(written)} figures)" if written else "no figures: the runs hold no data for one"
    report = write_report(runs, output)
    print(report)
    if figures:
        print(figures)
    if args.open:
        webbrowser.open(report.resolve().as_uri())
    return 0
