"""`python -m study`: run the study, or go on with it, and write its numbers, figures and tables.

Everything that is finished stays; what was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mcpo_rl.errors import MCPOError
from study import plan
from study.bases import make_bases, probe_set
from study.commands import CommandFailed, run
from study.plan import Comparison

WRITTEN = {
    "results": "write the numbers, figures and tables of the runs there are; trains nothing",
    "page": "the figures and tables alone, from the numbers",
}
"""Words beside the parts of the plan."""


def main() -> int:
    """Run what is asked for; 1 where a command failed, 2 after a mistake of the user, 130 after Ctrl-C."""
    arguments = _arguments()
    comparisons = [comparison for part in arguments.parts if part in plan.PARTS for comparison in plan.PARTS[part]()]
    models = arguments.runs / "models"
    try:
        make_bases([comparison.base for comparison in comparisons], models, jobs=arguments.jobs)
        for comparison in comparisons:
            compare(comparison, arguments.runs, models, jobs=arguments.jobs)
        for part in (part for part in WRITTEN if part in arguments.parts):
            write(part, arguments)
    except MCPOError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"study: {error}\nGo on with the same command.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("study: stopped. Go on with the same command.", file=sys.stderr)
        return 130
    return 0


def compare(comparison: Comparison, runs: Path, models: Path, *, jobs: int) -> None:
    """Run what is missing of a comparison.

    Raises:
        CommandFailed: A run of it failed, or it was stopped.
    """
    directory = runs / comparison.name
    for methods, seeds in comparison.seeds.items():
        known = (directory / "comparison.yaml").is_file()
        words = ["compare", str(directory if known else comparison.recipe)]
        words += ["--methods", ",".join(methods), "--seeds", f"{seeds[0]}-{seeds[-1]}", "--jobs", str(jobs)]
        words += [] if known else ["--output", str(directory)]
        words += [] if comparison.variants is None else ["--variants", str(comparison.variants)]
        if not known:
            words += ["--model", str(models / comparison.base)]
            if comparison.base in plan.SETTINGS:
                words += ["--probe.completions", str(probe_set(models, comparison.base))]
            words += [word for key, value in comparison.changes.items() for word in (f"--{key}", value)]
        run(words)


def write(part: str, arguments: argparse.Namespace) -> None:
    """Write the numbers, figures and tables; `page` leaves the numbers as they are.

    Raises:
        MCPOError: There is nothing to write them from, or a file is damaged or could not be written.
    """
    from study.results.collecting import collect
    from study.results.figures import write_figures
    from study.results.page import write_page

    for remark in collect(arguments.runs, arguments.results) if part == "results" else []:
        print(f"study: {remark}")
    write_figures(arguments.results)
    write_page(arguments.results, arguments.page)
    print(f"Numbers and figures: {arguments.results}; tables: {arguments.page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m study",
        description="Run the study of docs/results.md, or go on with it. Parts: "
        + ", ".join(plan.PARTS)
        + "".join(f"; {name}: {about}" for name, about in WRITTEN.items())
        + ".",
        epilog="Example: python -m study quick results --runs runs/study-quick --results "
        "runs/study-quick/results --page runs/study-quick/results.md",
    )
    parser.add_argument("parts", nargs="*", default=["full"], metavar="PART", help="default: full")
    parser.add_argument("--runs", type=Path, default=Path("runs/study"), help="where runs go (default runs/study)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: the cores)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where numbers go (default results)")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"), help="default docs/results.md")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in {**plan.PARTS, **WRITTEN}:
            parser.error(f"there is no part `{part}`; there are {', '.join([*plan.PARTS, *WRITTEN])}.")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
