"""Running the tasks of a plan: several at a time, in the order that they need, stopped and gone on with cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mcpo_rl.comparison.outcomes import is_finished
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.errors import MCPOError
from mcpo_rl.runs import RunDirectory

POLL_S = 0.2
MISTAKE = 2
"""Exit status of a command that was asked for what cannot be: every other run would most likely end alike."""
INTERRUPTED = 130


class Running(Protocol):
    """A task that has been started."""

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""

    def interrupt(self) -> None:
        """Ask it to stop as Ctrl-C does: a training run then writes a checkpoint."""


Start = Callable[[Task, int, bool], Running]
"""Starts a task in one of the places 0 .. jobs - 1; the flag says that it is trained and only left to be evaluated."""


class Watcher(Protocol):
    """Told how the tasks get on."""

    def begins(self, task: Task) -> None:
        """A task starts or goes on."""

    def ends(self, task: Task, failure: str | None) -> None:
        """A task has ended; `failure` says why it is not finished."""

    def steps(self, done: int, total: int) -> None:
        """So many optimizer steps are done of all those of the plan."""


@dataclass(frozen=True)
class Failed:
    """A task that did not come to its end."""

    task: Task
    reason: str
    """One line."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How running the tasks ended."""

    failed: list[Failed]
    interrupted: bool
    """By Ctrl-C; what has been done goes on from there the next time."""


def run_tasks(plan: Plan, start: Start, watcher: Watcher, *, jobs: int = 1) -> Ended:
    """Run every task of the plan that has not finished.

    A task that fails takes only those along that are made from it. One that ends with a mistake in what was asked
    (exit status 2) stops the whole: the others would end alike. On Ctrl-C (or SIGTERM) the running tasks are asked to
    stop with a checkpoint; a second Ctrl-C is passed on, so that they stop at once.

    Args:
        plan: What to run.
        start: Starts one task.
        watcher: Told how it gets on.
        jobs: Tasks at a time.
    """
    with _noted_signals() as signals:
        return _Tasks(plan, start, watcher, jobs).run(signals)


class _Tasks:
    def __init__(self, plan: Plan, start: Start, watcher: Watcher, jobs: int) -> None:
        self._plan, self._start, self._watcher = plan, start, watcher
        self._waiting = [task for task in plan.tasks if not is_finished(plan, task)]
        self._finished = {task.name for task in plan.tasks} - {task.name for task in self._waiting}
        self._free = list(range(jobs))
        self._running: dict[str, tuple[Task, int, Running]] = {}
        self._failed: list[Failed] = []
        self._stopping = self._interrupted = False

    def run(self, signals: list[int]) -> Ended:
        while self._waiting or self._running:
            for _ in range(len(signals)):
                signals.pop()
                self._interrupted = True
                self._stop()
            self._begin_ready()
            self._end_done()
            self._watcher.steps(*self._steps())
            if not self._running and (self._stopping or not self._ready()):
                break
            if self._running:
                time.sleep(POLL_S)
        return Ended(failed=self._failed, interrupted=self._interrupted)

    def _ready(self) -> list[Task]:
        return [task for task in self._waiting if set(task.needs) <= self._finished]

    def _begin_ready(self) -> None:
        for task in self._ready():
            if not self._free or self._stopping:
                return
            self._waiting.remove(task)
            self._begin(task, evaluate=False)

    def _begin(self, task: Task, *, evaluate: bool) -> None:
        place = self._free.pop(0)
        self._watcher.begins(task)
        self._running[task.name] = (task, place, self._start(task, place, evaluate))

    def _end_done(self) -> None:
        for task, place, running in list(self._running.values()):
            status = running.poll()
            if status is None:
                continue
            del self._running[task.name]
            self._free = sorted([*self._free, place])
            if status == 0 and not self._stopping and _is_only_trained(self._plan, task):
                # Several processes trained it, which leave the evaluation to one.
                self._begin(task, evaluate=True)
                continue
            self._note(task, status)

    def _note(self, task: Task, status: int) -> None:
        if is_finished(self._plan, task):
            self._finished.add(task.name)
            self._watcher.ends(task, None)
            return
        if status == INTERRUPTED or self._interrupted:
            self._interrupted = True
            reason = "stopped"
        else:
            reason = _reason(self._plan.log(task), status)
            self._failed.append(Failed(task, reason))
        self._watcher.ends(task, reason)
        if status in (MISTAKE, INTERRUPTED) and not self._stopping:  # a second Ctrl-C would cost them their checkpoint
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for _, _, running in self._running.values():
            running.interrupt()

    def _steps(self) -> tuple[int, int]:
        done = sum(task.steps for task in self._plan.tasks if task.name in self._finished)
        done += sum(min(last_step(self._plan.run(task)), task.steps) for task, _, _ in self._running.values())
        return done, sum(task.steps for task in self._plan.tasks)


def last_step(run: Path) -> int:
    """Return the last optimizer step that a run has logged; 0 before the first. Reads only the end of the file."""
    with contextlib.suppress(OSError), (run / "metrics.jsonl").open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_536))
        for line in reversed(file.read().split(b"\n")):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("step"), int):
                    return int(row["step"])
    return 0


def _is_only_trained(plan: Plan, task: Task) -> bool:
    run = RunDirectory(plan.run(task))
    with contextlib.suppress(MCPOError):
        trained = run.read_manifest().get("status") == "finished" and (run.path / "model").is_dir()
        return trained and not run.eval_file.is_file()
    return False


def _reason(log: Path, status: int) -> str:
    """Return the line of a log that says what went wrong, and where the rest is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    said = [line.strip() for line in lines if line.strip()]
    ours = next((line for line in reversed(said) if line.startswith("mcpo-rl: error: ")), None)
    cause = ours.removeprefix("mcpo-rl: error: ") if ours else said[-1] if said else "it printed nothing"
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{cause} ({how}; see {log})"


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C adds to, and SIGTERM, which batch systems send before they kill.

    Noted rather than raised: an exception between the start of a task and its being remembered would leave it alone.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    handled = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: signals.append(number)) for number in handled]
    try:
        yield signals
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
