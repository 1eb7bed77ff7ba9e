"""`mcpo-rl eval`: a model's accuracy per domain, with intervals, and whether it differs from another's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.cli.eval_benchmarks import add_benchmark_options, compare_benchmarks, run_benchmarks
from mcpo_rl.cli.eval_export import add_export_option, check_export, export
from mcpo_rl.cli.eval_options import (
    add_engine_options,
    add_sampling_options,
    engine_options,
    prepare_engine,
    sampling_options,
)
from mcpo_rl.cli.eval_saving import evaluate_and_save
from mcpo_rl.cli.sandbox_options import add_sandbox_options, use_sandbox
from mcpo_rl.errors import ConfigError, RunError

if TYPE_CHECKING:
    from mcpo_rl.scores import EvaluationRecord
    from mcpo_rl.types import Problem

PROCEDURAL = "procedural:"
HUB = "hub:"
INTERRUPTED = 130


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "eval",
        help="accuracy per domain of a model, with 95%% intervals",
        description="Sample completions, verify them and print accuracy per domain with 95% intervals: avg@k, pass@k\n"
        "and maj@k, per domain and source. With --output the evaluation can be stopped at any time: the same\n"
        "command goes on where it was.",
        epilog="examples:\n"
        "  mcpo-rl eval --model builtin:tiny --problems procedural:math,code,logic --limit 50\n"
        "  mcpo-rl eval --model runs/demo/mcpo --problems heldout.jsonl --domain math --k 8 --output mcpo.json\n"
        "  mcpo-rl eval --model my-lora/ --problems heldout.jsonl --k 8 --output lora.json --against mcpo.json\n"
        "  mcpo-rl eval --read mcpo.json --against grpo.json\n"
        "  mcpo-rl eval --model Qwen/Qwen3-4B --benchmarks math500,aime24,humaneval,zebralogic --output qwen3-4b",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", metavar="M", help="hub id, directory (a LoRA's too), run directory or builtin:NAME")
    parser.add_argument(
        "--problems",
        metavar="P",
        help="a .jsonl, .json, .parquet or .csv file, a directory made by `mcpo-rl data build` (its held-out "
        "problems), hub:OWNER/NAME:SPLIT, or procedural:DOMAIN[,DOMAIN...] for generated held-out problems",
    )
    parser.add_argument("--domain", metavar="D", help="domain of a file without a `domain` column")
    parser.add_argument("--limit", type=_positive, metavar="N", help="first N problems (procedural: N of each domain)")
    parser.add_argument("--level", type=_positive, default=1, help="difficulty of procedural problems (default 1)")
    add_benchmark_options(parser)
    add_sampling_options(parser)
    add_engine_options(parser)
    add_sandbox_options(parser)
    group = parser.add_argument_group("the result")
    group.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the numbers, with a score for every problem, as JSON, and every completion with its verdict beside "
        "it as Parquet",
    )
    group.add_argument("--restart", action="store_true", help="discard what --output has already, and start anew")
    group.add_argument("--read", metavar="FILE", help="show this evaluation (or a run's) instead of making one")
    group.add_argument(
        "--against",
        metavar="FILE",
        help="compare with this evaluation (or a run's) of the same problems: differences with 95%% intervals and a "
        "paired test",
    )
    group.add_argument("--comparison", type=Path, metavar="FILE", help="write what --against found as JSON")
    add_export_option(group)


def run(args: argparse.Namespace) -> int:
    """Evaluate or read, print the table, and compare."""
    check_export(args)
    if args.benchmarks is not None:
        records = run_benchmarks(args)
        if records and args.export:
            export((args.output / f"{name}.json" for name in records), args)
        if records and args.against:
            compare_benchmarks(records, args.against)
        return INTERRUPTED if records is None else 0
    _check(args)
    from mcpo_rl.scores import EvaluationRecord

    other = EvaluationRecord.read(evaluation_file(args.against)) if args.against else None
    if args.read:
        record = EvaluationRecord.read(evaluation_file(args.read))
        print(record)
    else:
        found = _evaluate(args, other)
        if found is None:
            return INTERRUPTED
        record = found
    if args.export:
        export([evaluation_file(args.read) if args.read else args.output], args)
    if other is not None:
        _compare(other, record, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded."""
    for name, path in (("--output", args.output), ("--comparison", args.comparison)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"{name}: the directory {path.parent} does not exist.")
        if path is not None and path.is_dir():
            raise ConfigError(f"{name}: {path} is a directory; name a file in it, such as {path / 'eval.json'}.")
    if args.comparison is not None and args.against is None:
        raise ConfigError("--comparison writes what --against finds; give --against FILE too.")
    if args.restart and args.output is None:
        raise ConfigError("--restart starts --output anew; give --output FILE too.")
    if args.read:
        if args.model or args.problems or args.output:
            raise ConfigError(
                "--read shows an evaluation that is there: give it without --model, --problems, --output."
            )
        return
    for name in ("model", "problems"):
        if getattr(args, name) is None:
            raise ConfigError(
                f"--{name} is missing (or --read FILE, to show an evaluation that is there; see `mcpo-rl eval --help`)."
            )


def _evaluate(args: argparse.Namespace, other: EvaluationRecord | None) -> EvaluationRecord | None:
    """Evaluate, print the table and save; None after Ctrl-C. That `other` cannot be compared is found out before."""
    samples, sampling = sampling_options(args)
    options = engine_options(args)
    use_sandbox(args)
    entries = problem_sources(args.problems, domain=args.domain, limit=args.limit, level=args.level)

    from mcpo_rl.data import load_problems
    from mcpo_rl.evaluation.loading import load_generator

    # The problems first: a mistake in them should not wait for a model to load.
    problems = [problem for entry in entries for problem in load_problems(entry)]
    if args.limit is not None and not args.problems.startswith(PROCEDURAL):
        problems = problems[: args.limit]
    if other is not None:
        check_problems(other, problems)
    prepare_engine()
    generator = load_generator(model_path(args.model), options)
    return evaluate_and_save(
        generator, problems, samples, sampling, args.output, restart=args.restart, verify_workers=args.verify_workers
    )


def check_problems(other: EvaluationRecord, problems: Sequence[Problem]) -> None:
    """Refuse problems that are not those of `other`, before a model answers them.

    Raises:
        ProblemError: They are others.
    """
    from mcpo_rl.evaluation.evaluating import problem_key
    from mcpo_rl.scores import ProblemScore, check_same_problems

    asked = [ProblemScore(key=problem_key(p), domain=p.domain, id=p.id, samples=0, correct=0) for p in problems]
    check_same_problems(other.scores, asked)


def _compare(other: EvaluationRecord, record: EvaluationRecord, args: argparse.Namespace) -> None:
    from mcpo_rl.runs.files import write_text
    from mcpo_rl.scores import compare_records

    comparison = compare_records(other, record)
    print(f"\n{record.model or 'this evaluation'} minus {other.model or args.against}, problem by problem:")
    print(comparison)
    if args.comparison is not None:
        write_text(args.comparison, json.dumps(comparison.to_json(), indent=1) + "\n")
        print(f"written: {args.comparison}")


def evaluation_file(text: str) -> Path:
    """Return the eval.json that a file or a run directory stands for.

    Raises:
        RunError: There is none.
    """
    path = Path(text)
    if not path.is_dir():
        return path
    if not (path / "eval.json").is_file():
        raise RunError(f"{path} has no eval.json; give the file of an evaluation, or a run that was evaluated.")
    return path / "eval.json"


def problem_sources(text: str, *, domain: str | None, limit: int | None, level: int) -> list[dict[str, Any]]:
    """Return the entries (as in a recipe's `problems`) that `--problems` stands for.

    Raises:
        ConfigError: No domain is named after `procedural:`, no split after `hub:`, or the file does not exist.
    """
    named = {"domain": domain} if domain else {}
    if text.startswith(PROCEDURAL):
        names = [name.strip() for name in text.removeprefix(PROCEDURAL).split(",") if name.strip()]
        if not names:
            raise ConfigError("--problems procedural: names no domain; write e.g. `procedural:math,code,logic`.")
        shared = {"source": "procedural", "split": "heldout", "count": limit or 100, "level": level, "seed": 0}
        return [shared | {"domain": name} for name in names]
    if text.startswith(HUB):
        name, _, split = text.removeprefix(HUB).partition(":")
        if not name or not split:
            raise ConfigError(f"--problems {text}: name the dataset and its split, e.g. `hub:openai/gsm8k:test`.")
        return [{"hub": name, "split": split} | named]
    if not Path(text).exists():
        raise ConfigError(
            f"--problems: there is no file {text}. For generated ones write `procedural:math,code,logic`, for a "
            "dataset of the hub `hub:openai/gsm8k:test`."
        )
    from mcpo_rl.data.sources.built import is_built

    return [{"path": text} | named | ({"split": "heldout"} if is_built(Path(text)) else {})]


def model_path(name: str) -> str:
    """Return where to load `name` from: for a run directory, the model that the run ended with.

    Raises:
        RunError: The run has not ended yet.
    """
    path = Path(name)
    if not (path / "manifest.json").is_file() or (path / "config.json").is_file():
        return name
    final = path / "model"
    if not final.is_dir():
        raise RunError(f"{path} has no `model` yet; give one of its checkpoints (checkpoints/checkpoint-N).")
    return str(final)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
