"""`mcpo-rl report`: one HTML file about one or several runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "report",
        help="write one self-contained HTML file about one or several runs",
        description="Write one self-contained HTML file about one or several runs: curves per domain, a map of the\n"
        "representations, rollouts with their verdicts. It needs no network to be read.",
        epilog="example:\n  mcpo-rl report runs/grpo runs/mcpo --output report.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="where to write it (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from mcpo_rl.analysis import write_report

    print(write_report(args.runs, args.output))
    return 0
