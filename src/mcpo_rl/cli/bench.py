"""`mcpo-rl bench`: what the contrastive term costs, whether it is exact, how fast verdicts and problems come."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcpo_rl.cli.bench_tables import as_markdown, tables
from mcpo_rl.errors import ConfigError, MissingDependencyError, nearest


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "bench",
        help="measure overhead, exactness, scaling with the pool, the sandbox and the verifiers",
        description="Measure, print a table, and with --output write JSON. Without a name: all of\n"
        "  overhead           one optimizer step against TRL's GRPO, same rollouts: ratios of time and peak memory\n"
        "  overhead-smollm2   the same with SmolLM2-135M, a quarter of an hour on a CPU\n"
        "  pool               losses and objective step of pools up to 65,536, against the matrix products alone, and\n"
        "                     peak memory; some minutes on two cores\n"
        "  exactness          micro-batched against one backward pass, streamed against dense: largest difference\n"
        "  sandbox            programs per second against cold interpreters, latency, what 5,000 of them leave\n"
        "  verify             verdicts per second on plain numbers and LaTeX; what a hostile answer costs\n"
        "  service            seconds for a batch of 1,024 rollouts of three domains\n"
        "  build              rows per second of a build of 100,000 generated problems, by stage\n"
        "  stream             memory that reading and building take of a Parquet file of 2 GiB\n"
        "  mixture            milliseconds per batch, by size and curriculum",
        epilog="examples:\n  mcpo-rl bench overhead pool --output bench.json\n"
        "  mcpo-rl bench --markdown bench.json     the tables of that file for a page",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MEASURES)} (default: all)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the measurements as JSON")
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="keep N processes busy meanwhile: what a loaded machine shows"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="measure nothing; print what --output wrote as Markdown tables"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.markdown is not None:
        if args.names or args.output is not None or args.busy:
            raise ConfigError("--markdown measures nothing: give it alone, with a file that --output wrote.")
        print(as_markdown(_read(args.markdown)))
        return 0
    for name in args.names:
        if name not in MEASURES:
            raise ConfigError(f"unknown benchmark `{name}`; there are {', '.join(MEASURES)}.{nearest(name, MEASURES)}")
    if args.busy < 0:
        raise ConfigError(f"--busy is {args.busy}; expected a number of processes, 0 or more.")
    if args.output is not None:
        _write(args.output, {})  # a place that cannot be written should show now, not after minutes
    from mcpo_rl.cli.machine import machine_facts

    load = {"load_average": round(os.getloadavg()[0], 2), "busy_processes": args.busy}
    results: dict[str, Any] = {"machine": {**machine_facts(), **load}}
    _print("machine", results["machine"])
    with _busy(args.busy):
        for name in args.names or MEASURES:
            results[name] = MEASURES[name]()
            _print(name, results[name])
            if args.output is not None:  # after each: a long measurement that is stopped keeps what it has
                _write(args.output, results)
    return 0


def _print(name: str, facts: dict[str, Any]) -> None:
    print("\n\n".join(table.text() for table in tables(name, facts)), flush=True)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep `count` processes at work inside."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _overhead() -> dict[str, Any]:
    from mcpo_rl.cli.bench_overhead import measure_overhead
    from mcpo_rl.cli.progress import progress_of

    return measure_overhead(progress=lambda case: progress_of(f"overhead: {case}", "turns"))


def _overhead_smollm2() -> dict[str, Any]:
    from mcpo_rl.cli.bench_overhead import SMOLLM2_CASES, measure_overhead
    from mcpo_rl.cli.bench_overhead_worker import Setting
    from mcpo_rl.cli.progress import progress_of

    setting = Setting(
        model="builtin:smollm2-135m", turns=4, prompts=3, generations=4, micro_batch=4, completion_length=32
    )
    try:
        return measure_overhead(setting, SMOLLM2_CASES, lambda case: progress_of(f"SmolLM2-135M: {case}", "turns"))
    except MissingDependencyError as missing:
        return {"not measured": str(missing)}


def _pool() -> dict[str, Any]:
    from mcpo_rl.cli.bench_pool import measure_pool
    from mcpo_rl.cli.progress import progress_of

    return measure_pool(progress=progress_of("pool", "pools"))


def _exactness() -> dict[str, Any]:
    from mcpo_rl.cli.bench_exactness import measure_exactness

    return measure_exactness()


def _sandbox() -> dict[str, Any]:
    from mcpo_rl.cli.bench_sandbox import measure_sandbox

    return measure_sandbox()


def _verify() -> dict[str, Any]:
    from mcpo_rl.cli.bench_verify import measure_verify

    return measure_verify()


def _service() -> dict[str, Any]:
    from mcpo_rl.cli.bench_service import measure_service

    return measure_service()


def _build() -> dict[str, Any]:
    from mcpo_rl.cli.bench_build import measure_build

    return measure_build()


def _stream() -> dict[str, Any]:
    from mcpo_rl.cli.bench_stream import measure_stream

    return measure_stream()


def _mixture() -> dict[str, Any]:
    from mcpo_rl.cli.bench_mixture import measure_mixture

    return measure_mixture()


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "overhead": _overhead,
    "overhead-smollm2": _overhead_smollm2,
    "pool": _pool,
    "exactness": _exactness,
    "sandbox": _sandbox,
    "verify": _verify,
    "service": _service,
    "build": _build,
    "stream": _stream,
    "mixture": _mixture,
}


def _write(path: Path, results: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output: cannot write {path}: {error.strerror}.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--markdown: cannot read {path}: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"--markdown: {path} is not JSON ({error}); give a file that --output wrote.") from error
    if not isinstance(results, dict) or "machine" not in results:
        raise ConfigError(f"--markdown: {path} holds no measurements; give a file that --output wrote.")
    return results
