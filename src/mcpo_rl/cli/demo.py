"""`mcpo-rl demo`: the whole story on the bundled model, from training to a report."""

from __future__ import annotations

import argparse
import shlex
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcpo_rl.evaluation import EvaluationResult
    from mcpo_rl.scores import EvaluationRecord

METHODS = ("grpo", "mcpo")
OUTPUT = Path("runs/demo")


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "demo",
        help="train GRPO and MCPO on the bundled model and open a report",
        description="Train the bundled model with GRPO and with MCPO: same problems, seed and number of rollouts.\n"
        "Evaluate both on held-out problems and write a report. Needs no GPU, no hub and no network; under 10 minutes\n"
        "on 2 cores.",
        epilog="examples:\n"
        "  mcpo-rl demo\n"
        "  mcpo-rl demo --seed 7 --output-dir runs/demo-7\n"
        "  mcpo-rl demo --set max_steps=20        a shorter one\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        metavar="DIR",
        help=f"where the two runs and the report go (default: {OUTPUT}, or a new one beside it)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of both runs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the demo recipe in both runs (repeatable)",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted demo in --output-dir")
    parser.add_argument("--open", action="store_true", help="open the report in a browser at the end")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Train both, evaluate both, compare, report."""
    from mcpo_rl.analysis import write_report
    from mcpo_rl.config import load_recipe

    output = args.output_dir or (OUTPUT if args.resume else _free(OUTPUT))
    overrides = [word for pair in args.set for word in (f"--{pair.lstrip('-')}",)]
    if args.seed is not None:
        overrides += ["--seed", str(args.seed)]
    recipes = {
        method: load_recipe("demo", [*overrides, "--method", method, "--output_dir", str(output / method)])
        for method in METHODS
    }
    from mcpo_rl.cli.training import run_training

    results: dict[str, EvaluationResult | EvaluationRecord] = {}
    for method, recipe in recipes.items():
        done = _finished(output / method) if args.resume else None
        if done is not None:
            results[method] = done
            continue
        outcome = run_training(recipe, resume=args.resume, quiet=args.quiet)
        if outcome.interrupted:
            again = ["mcpo-rl", "demo", "--output-dir", str(output), "--resume"]
            again += ["--seed", str(args.seed)] if args.seed is not None else []
            again += [word for pair in args.set for word in ("--set", pair)]
            print(f"stopped at step {outcome.step} of {method}; continue with:\n  {shlex.join(again)}", file=sys.stderr)
            return 130
        assert outcome.evaluation is not None, "the demo recipe has held-out problems"
        results[method] = outcome.evaluation
    print(_table(output, results))
    report = write_report([output / method for method in METHODS], output / "report.html")
    print(f"\nreport: {report}")
    if args.open:
        webbrowser.open(report.resolve().as_uri())
    return 0


def _free(path: Path) -> Path:
    """Return `path`, or the first of `path-2`, `path-3`, ... that does not exist: every demo keeps its own runs."""
    candidate, number = path, 1
    while candidate.exists() and any(candidate.iterdir()):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _finished(path: Path) -> EvaluationRecord | None:
    """Return the evaluation of a run that finished, else None."""
    from mcpo_rl.runs import RunDirectory
    from mcpo_rl.scores import EvaluationRecord

    if not (path / "manifest.json").is_file():
        return None
    run = RunDirectory.open(path)
    finished = run.read_manifest().get("status") == "finished" and run.eval_file.is_file()
    return EvaluationRecord.read(run.eval_file) if finished else None


def _table(output: Path, results: dict[str, Any]) -> str:
    """Return the comparison in words and numbers, whatever it shows."""
    from mcpo_rl.scores import EvaluationRecord, compare_records

    start_file = output / METHODS[0] / "eval_start.json"
    columns = {"start": EvaluationRecord.read(start_file)} if start_file.is_file() else {}
    columns |= results
    difference = compare_records(results["grpo"], results["mcpo"])
    first: EvaluationRecord = results["grpo"]
    rows = [["held-out accuracy", *columns, "MCPO - GRPO"]]
    for domain in first.domains:
        cells = [_interval(record.domains[domain].accuracy) for record in columns.values()]
        rows.append([domain, *cells, _interval(difference.domains[domain], signed=True)])
    rows.append(["mean", *(_interval(r.macro) for r in columns.values()), _interval(difference.macro, signed=True)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    verdict = (
        f"In this pair of runs MCPO is {'above' if difference.macro.value > 0 else 'below'} GRPO by more than the "
        "sampling of the problems explains"
        if difference.macro.clear
        else "No clear difference between MCPO and GRPO: the interval of the mean includes 0"
    )
    note = (
        f"{verdict}. The 95% intervals are over {first.micro.problems} held-out problems; how much the result changes "
        "with the training seed is not in them (try --seed)."
    )
    return "\n".join(["", *lines, "", note])


def _interval(estimate: Any, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
