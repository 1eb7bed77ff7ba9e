"""Commands of `mcpo-rl` as processes: several at a time, each printing into its log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYTHON = (sys.executable, "-m", "mcpo_rl")


class CommandFailed(Exception):
    """A command ended with another status than 0."""


def run(words: Sequence[str], *, log: Path | None = None, threads: int | None = None) -> None:
    """Run `mcpo-rl WORDS`; with `log` what it prints goes there.

    Raises:
        CommandFailed: Its exit status was not 0.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    command = [*PYTHON, *words]
    if log is None:
        status = subprocess.run(command, env=environment, check=False).returncode
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            status = subprocess.run(command, env=environment, stdout=file, stderr=file, check=False).returncode
    if status:
        raise CommandFailed(f"`mcpo-rl {' '.join(words)}` ended with {status}" + (f"; see {log}" if log else ""))


def run_side_by_side(commands: Mapping[str, Sequence[str]], logs: Path, *, jobs: int) -> None:
    """Run commands, `jobs` at a time, each on its part of the cores; every one is run even where another fails.

    Args:
        commands: Name to the words after `mcpo-rl`.
        logs: Where `NAME.log` goes.
        jobs: Processes at a time.

    Raises:
        CommandFailed: The first that failed.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            pool.submit(run, words, log=logs / f"{name}.log", threads=threads) for name, words in commands.items()
        ]
        for done in waiting:
            done.result()
