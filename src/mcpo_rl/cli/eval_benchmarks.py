"""`mcpo-rl eval --benchmarks`: standard benchmarks by name, each with the settings of its papers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.cli.eval_options import SAMPLING, engine_options, prepare_engine
from mcpo_rl.cli.sandbox_options import use_sandbox
from mcpo_rl.errors import ConfigError

if TYPE_CHECKING:
    from mcpo_rl.evaluation import Sampling
    from mcpo_rl.evaluation.benchmarks import Benchmark, BenchmarkProblems
    from mcpo_rl.scores import EvaluationRecord

LIST = "list"
_PROTOCOLS = ("guru", "r1", "greedy")
_FORMS = ("benchmark", "domain", "none")


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Add which benchmarks, where they are, and how they are put and sampled."""
    group = parser.add_argument_group(
        "benchmarks by name",
        "Each has its own number of completions, temperature, top-p and length; --k, --temperature, --top-p and "
        "--max-new-tokens replace them. --output is then a directory: a file for each benchmark, and benchmarks.json.",
    )
    group.add_argument(
        "--benchmarks",
        metavar="NAMES",
        help="in the place of --problems: names with commas, such as math500,aime24,humaneval; `all`; `list` prints "
        "what there is",
    )
    group.add_argument(
        "--protocol",
        choices=_PROTOCOLS,
        default="guru",
        help="whose settings: guru, the multi-domain papers' (default); r1, DeepSeek-R1's; greedy, one completion",
    )
    group.add_argument(
        "--answer-form",
        choices=_FORMS,
        default="benchmark",
        help="how the answer is asked for: as the benchmark's papers do (default), with the domain's sentence that "
        "`answer_format: true` of a recipe appends, or not at all",
    )
    group.add_argument(
        "--benchmark-data",
        type=Path,
        metavar="DIR",
        help="local copies: DIR/NAME with the files of the hub's dataset (`hf download ... --local-dir DIR/NAME`)",
    )


def run_benchmarks(args: argparse.Namespace) -> dict[str, EvaluationRecord] | None:
    """Evaluate on every benchmark that is asked for; None after Ctrl-C.

    Raises:
        ConfigError: Options that cannot work together.
    """
    _check(args)
    from mcpo_rl.evaluation.benchmarks import get_benchmarks, load_benchmark
    from mcpo_rl.evaluation.benchmarks.summary import benchmark_table, write_summary

    if args.benchmarks == LIST:
        print(benchmark_list(args.protocol))
        return {}
    chosen = get_benchmarks(args.benchmarks)
    draws = [drawing(benchmark, args) for benchmark in chosen]
    options = engine_options(args)
    use_sandbox(args)
    loaded = []
    # All problems before the model: a benchmark that is missing should not be found out after hours.
    for benchmark in chosen:
        problems = load_benchmark(benchmark, data=args.benchmark_data, form=args.answer_form, limit=args.limit)
        for notice in problems.notices:
            print(f"mcpo-rl: {notice}", file=sys.stderr)
        loaded.append(problems)

    from mcpo_rl.cli.eval import check_problems, model_path
    from mcpo_rl.evaluation.loading import load_generator

    if args.against:
        problems_of = {problems.benchmark.name: problems.problems for problems in loaded}
        for name, other in _others(problems_of, args.against).items():
            check_problems(other, problems_of[name])
    prepare_engine()
    generator = load_generator(model_path(args.model), options)
    records: dict[str, EvaluationRecord] = {}
    for problems, (samples, sampling) in zip(loaded, draws, strict=True):
        record = _evaluate(generator, problems, samples, sampling, args)
        if record is None:
            return None
        records[problems.benchmark.name] = record
        if args.output is not None:
            # After each: what is done can be read while the others run.
            written = write_summary(records, args.output)
    if len(records) > 1:
        print(f"\n{benchmark_table(records)}")
    if args.output is not None:
        print(f"written: {written}")
    return records


def compare_benchmarks(records: Mapping[str, EvaluationRecord], against: str) -> None:
    """Compare each benchmark with the one of its name in a directory that `--benchmarks ... --output` wrote.

    Raises:
        RunError: The directory has none of them, or one of other problems.
    """
    from mcpo_rl.scores import compare_records

    others = _others(records, against)
    for name, other in others.items():
        print(f"\n{name}: {records[name].model or 'this'} minus {other.model or against}, problem by problem:")
        print(compare_records(other, records[name]))
    if missing := [name for name in records if name not in others]:
        print(f"\nnot compared, as {against} lacks them: {', '.join(missing)}")


def _others(names: Collection[str], against: str) -> dict[str, EvaluationRecord]:
    from mcpo_rl.errors import RunError
    from mcpo_rl.scores import EvaluationRecord

    files = {name: Path(against) / f"{name}.json" for name in names}
    if not any(file.is_file() for file in files.values()):
        raise RunError(f"--against: {against} has none of {', '.join(file.name for file in files.values())}.")
    return {name: EvaluationRecord.read(file) for name, file in files.items() if file.is_file()}


def drawing(benchmark: Benchmark, args: argparse.Namespace) -> tuple[int, Sampling]:
    """Return k and the sampling: the protocol's, with what the command line says in its place.

    Raises:
        ConfigError: A value that cannot work.
    """
    given = {name: getattr(args, name) for name in SAMPLING if getattr(args, name) is not None}
    sampling = replace(benchmark.sampling(args.protocol, seed=args.seed), **given)
    samples = benchmark.samples(args.protocol) if args.k is None else args.k
    if samples < 1:
        raise ConfigError(f"--k is {samples}; it must be at least 1.")
    if sampling.temperature == 0 and samples > 1:
        raise ConfigError(
            f"{benchmark.name}: {samples} completions at temperature 0 are all the same. Give --k 1, or --protocol "
            "greedy."
        )
    return samples, sampling


def benchmark_list(protocol: str = "guru") -> str:
    """Return the benchmarks as a table, then the protocols."""
    from mcpo_rl.evaluation.benchmarks import BENCHMARKS, PROTOCOLS, metric_name

    rows: list[Sequence[str]] = [("name", "domain", "problems", "metric", "dataset", "what it is")]
    for name, benchmark in BENCHMARKS.items():
        metric = metric_name(benchmark.samples(protocol))  # type: ignore[arg-type]  # argparse has checked it
        hub = benchmark.parts[0].hub
        rows.append((name, benchmark.domain, str(benchmark.problems), metric, hub, benchmark.title))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        "livecodebench@2024-10-01..2025-02-01 is LiveCodeBench from the first day to before the last one.",
        "",
    ]
    return "\n".join([*lines, *(f"--protocol {name}: {what}" for name, what in PROTOCOLS.items())])


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded."""
    if args.problems or args.read:
        raise ConfigError("--benchmarks names the problems: give it without --problems and --read.")
    if args.domain:
        raise ConfigError("--domain is for --problems; a benchmark has its own.")
    if args.benchmarks != LIST and not args.model:
        raise ConfigError("--model is missing.")
    if args.output is not None and args.output.is_file():
        raise ConfigError(f"--output: {args.output} is a file; with --benchmarks give a directory.")
    if args.output is not None and args.output.suffix == ".json":
        raise ConfigError(f"--output: with --benchmarks give a directory, such as {args.output.with_suffix('')}.")
    if args.comparison is not None:
        raise ConfigError("--comparison is for --problems; with --benchmarks --against prints what it finds.")
    if args.restart and args.output is None:
        raise ConfigError("--restart starts --output anew; give --output DIR too.")


def _evaluate(
    generator: Any, loaded: BenchmarkProblems, samples: int, sampling: Sampling, args: argparse.Namespace
) -> EvaluationRecord | None:
    from mcpo_rl.cli.eval_saving import evaluate_and_save
    from mcpo_rl.evaluation.benchmarks import metric_name

    benchmark = loaded.benchmark
    print(
        f"\n{benchmark.title}: {len(loaded.problems)} problems, {metric_name(samples)}, temperature "
        f"{sampling.temperature:g}, top-p {sampling.top_p:g}, up to {sampling.max_new_tokens} tokens"
    )
    return evaluate_and_save(
        generator,
        loaded.problems,
        samples,
        sampling,
        None if args.output is None else args.output / f"{benchmark.name}.json",
        restart=args.restart,
        verify_workers=args.verify_workers,
        label=benchmark.name,
        facts=loaded.facts() | {"protocol": args.protocol, "answer_form": args.answer_form},
    )
