"""Progress of an evaluation or a measurement on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

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
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TextColumn("left"))
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _PlainLines(label, unit)


class _Rate(TextColumn):
    """How much is done in a second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g}/s" if speed else "")


class _PlainLines:
    """Lines with the rate and what is left. What the first call finds done (a resumed evaluation) took no time here."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit, self._shown = label, unit, 0
        self._first: tuple[int, float] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        first = self._first = self._first or (done, now)
        if done >= total or (done - self._shown) * LINES >= total:
            self._shown = done
            rate = (done - first[0]) / (now - first[1]) if done > first[0] and now > first[1] else None
            left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
            speed = f" ({rate:.3g}/s{left})" if rate else ""
            print(f"{self._label} {done}/{total} {self._unit}{speed}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """Return `h:mm:ss`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
