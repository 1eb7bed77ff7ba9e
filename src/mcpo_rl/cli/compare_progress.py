"""What `mcpo-rl compare` says while it runs: the plan, which run is under way, how many steps are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mcpo_rl.cli.progress import progress_of
from mcpo_rl.comparison.methods import BUDGETS
from mcpo_rl.comparison.outcomes import is_finished
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.comparison.table import duration
from mcpo_rl.scores import EvaluationRecord


def plan_text(plan: Plan, *, launched: bool = False) -> str:
    """Return the runs of the plan, what they cost, and the budget in words.

    Args:
        plan: The plan.
        launched: Runs are started by a launcher, on a number of processes that only it knows.
    """
    lines = [f"methods {', '.join(plan.methods)}; seeds {_listed(plan.seeds)}; {len(plan.tasks)} runs in {plan.path}"]
    for method in plan.methods:
        tasks = plan.of(method, plan.seeds_of(method)[0])
        own = f", seeds {_listed(plan.own_seeds[method])}" if method in plan.own_seeds else ""
        lines.append(f"  {plan.method(method).label:<22} {_cost(tasks)} per seed{own}")
    lines.append(f"budget {plan.budget}: {BUDGETS[plan.budget]}")
    if launched:
        lines.append("note: Rollouts are those of one process; the launcher multiplies them.")
    lines += [f"note: {remark}" for remark in plan.remarks]
    done = sum(is_finished(plan, task) for task in plan.tasks)
    if done:
        lines.append(f"{done} of {len(plan.tasks)} are finished")
    return "\n".join(lines)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _cost(tasks: list[Task]) -> str:
    if tasks[0].kind == "merge":
        return f"no training: {len(tasks[0].needs)} specialists merged"
    return ", ".join(
        f"{task.domain + ' ' if task.domain else ''}{task.steps} {'step' if task.steps == 1 else 'steps'} "
        f"x {task.rollouts_per_step:g} rollouts"
        for task in tasks
    )


@contextmanager
def watching(plan: Plan, *, quiet: bool) -> Iterator[Watch]:
    """Yield what `run_tasks` tells how it gets on; lines on stderr, with a bar of optimizer steps on a terminal."""
    if quiet:
        yield Watch(plan, None, say=False)
        return
    with progress_of("compare", "steps") as progress:
        yield Watch(plan, progress, say=True)


class Watch:
    """Says what begins and ends.

    Args:
        plan: The plan.
        progress: Told the steps done and in all, when they change.
        say: Print a line where a run begins and ends.
    """

    def __init__(self, plan: Plan, progress: Callable[[int, int], None] | None, *, say: bool) -> None:
        self._plan, self._progress, self._say = plan, progress, say
        self._done = -1
        self._begun: dict[str, float] = {}

    def begins(self, task: Task) -> None:
        """Note when."""
        again = task.name in self._begun
        self._begun.setdefault(task.name, time.monotonic())
        if self._say:
            print(f"{task.name}: {'is evaluated' if again else 'begins'}", file=sys.stderr, flush=True)

    def ends(self, task: Task, failure: str | None) -> None:
        """Say how it did, or why it failed."""
        if not self._say:
            return
        took = duration(time.monotonic() - self._begun[task.name])
        if failure is not None:
            print(f"{task.name}: {failure}", file=sys.stderr, flush=True)
            return
        record = EvaluationRecord.read(self._plan.run(task) / "eval.json")
        accuracies = ", ".join(f"{name} {own.accuracy.value:.3f}" for name, own in record.domains.items())
        print(f"{task.name}: {accuracies} ({took})", file=sys.stderr, flush=True)

    def steps(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._progress is not None and done != self._done:
            self._done = done
            self._progress(done, total)
