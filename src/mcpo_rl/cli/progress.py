"""Progress of an evaluation or a measurement on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 5
"""Plain lines printed over a whole evaluation or measurement where stderr is not a terminal (a log file, CI)."""


@contextmanager
def evaluation_progress(label: str = "evaluate", *, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what `evaluate` takes as `progress`: a function of completions done and completions in all.

    Args:
        label: Shown in front.
        quiet: Yield None and show nothing.
    """
    if quiet:
        yield None
        return
    with progress_of(label, "completions") as progress:
        yield progress


@contextmanager
def progress_of(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of what is done and how much there is in all.

    Args:
        label: Shown in front.
        unit: What is counted.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("left"))
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _PlainLines(label, unit)


class _PlainLines:
    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit, self._shown = label, unit, 0

    def __call__(self, done: int, total: int) -> None:
        if done >= total or (done - self._shown) * LINES >= total:
            self._shown = done
            print(f"{self._label} {done}/{total} {self._unit}", file=sys.stderr, flush=True)
