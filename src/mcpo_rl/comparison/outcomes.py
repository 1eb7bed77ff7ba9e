"""What the runs of one method and seed left behind: a score per held-out problem, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.errors import ProblemError
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.files import write_text
from mcpo_rl.scores import EvaluationRecord, ProblemScore


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was spent on one model, or on the specialists that stand in its place; sums over their runs."""

    runs: int = 0
    steps: int = 0
    """Optimizer steps."""
    rollouts: float = 0.0
    domains: Mapping[str, float] = field(default_factory=dict)
    """Rollouts of every domain, by the share of the batches that it really had."""
    resampled: float = 0.0
    """Rollouts drawn in the place of others (`mixture.resample`), beyond `rollouts`."""
    tokens: float = 0.0
    """Prompt and completion tokens of all rollouts, as TRL counts them (`num_tokens`)."""
    seconds: float = 0.0
    """Wall-clock time of the optimizer steps: generation, verification and update; no loading, no evaluation."""

    def plus(self, other: Cost) -> Cost:
        """Return the sum of two costs."""
        names = {**self.domains, **other.domains}
        return Cost(
            runs=self.runs + other.runs,
            steps=self.steps + other.steps,
            rollouts=self.rollouts + other.rollouts,
            domains={name: self.domains.get(name, 0.0) + other.domains.get(name, 0.0) for name in names},
            resampled=self.resampled + other.resampled,
            tokens=self.tokens + other.tokens,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One method at one seed."""

    method: str
    seed: int
    scores: list[ProblemScore]
    """Of `single` each domain's scores come from its own specialist."""
    cost: Cost
    runs: dict[str, str]
    """Domain ('' for all) to the run directory, relative to the comparison's; of `sequential` the last stage's, where
    the scores come from, under ''."""
    heldout: str
    """SHA-256 of the held-out problems."""
    processes: int = 1


def is_finished(plan: Plan, task: Task) -> bool:
    """Whether a task has left all that it is run for."""
    run = RunDirectory(plan.run(task))
    finished = run.manifest_file.is_file() and run.read_manifest().get("status") == "finished"
    return finished and run.eval_file.is_file()


def read_outcome(plan: Plan, method: str, seed: int) -> Outcome | str:
    """Return what came out, or why nothing has yet.

    Raises:
        ProblemError: The specialists were evaluated on different problems.
        RunError: A file is damaged.
    """
    tasks = plan.of(method, seed)
    missing = [task for task in tasks if not is_finished(plan, task)]
    if missing:
        return _state(plan, missing)
    records = {task.name: EvaluationRecord.read(RunDirectory(plan.run(task)).eval_file) for task in tasks}
    manifests = {task.name: RunDirectory(plan.run(task)).read_manifest() for task in tasks}
    kind = plan.method(method).kind
    last = tasks[-1]
    sources = [task for task in plan.tasks if task.name in last.needs] if kind == "merge" else tasks
    cost = Cost()
    for task in sources:
        cost = cost.plus(_cost(plan, task))
    marks = {name: str(facts.get("data", {}).get("heldout", {}).get("sha256")) for name, facts in manifests.items()}
    if len(set(marks.values())) > 1:
        raise ProblemError(
            f"{' and '.join(list(marks)[:2])} were evaluated on different held-out problems: they changed on disk "
            "between the runs. Start a new comparison."
        )
    single = kind == "single"
    places = {task.domain or "": f"runs/{task.name}" for task in tasks} if single else {"": f"runs/{last.name}"}
    scores = records[last.name].scores
    if single:
        own = {task.domain: task.name for task in tasks}
        scores = [score for domain, name in own.items() for score in records[name].scores if score.domain == domain]
    return Outcome(
        method=method,
        seed=seed,
        scores=scores,
        cost=cost,
        runs=places,
        heldout=marks[last.name],
        processes=int(manifests[last.name].get("processes") or 1),
    )


def start_of(plan: Plan, seed: int) -> EvaluationRecord | None:
    """Return the evaluation of the model that all runs of a seed start from; None until there is one."""
    file = RunDirectory(plan.run(plan.starts[seed])).start_eval_file
    return EvaluationRecord.read(file) if file.is_file() else None


def hand_out_starts(plan: Plan) -> None:
    """Put beside every finished run the evaluation of the model that it started from: each is whole by itself then.

    It was measured once: by the first run of the seed, or as what the stage before ended with.

    Raises:
        RunError: A file could not be written.
    """
    for task in plan.tasks:
        run = RunDirectory(plan.run(task))
        if run.start_eval_file.is_file() or not is_finished(plan, task):
            continue
        stage = task.kind == "train" and task.needs
        source = RunDirectory(plan.run(task.needs[-1] if stage else plan.starts[task.seed]))
        file = source.eval_file if stage else source.start_eval_file
        if file.is_file():
            write_text(run.start_eval_file, file.read_text(encoding="utf-8"))


def _state(plan: Plan, missing: Sequence[Task]) -> str:
    """Return how far the tasks are that have not finished, in a few words."""
    task = missing[0]
    run = RunDirectory(plan.run(task))
    facts = run.read_manifest()
    status = str(facts.get("status", "not started"))
    if status == "finished":
        return f"{task.name} is trained but not evaluated"
    error = " ".join(str(facts["error"]).split()) if facts.get("error") and status == "failed" else ""
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"{task.name} {status}{f': {error}' if error else ''}{more}"


def _cost(plan: Plan, task: Task) -> Cost:
    run = RunDirectory(plan.run(task))
    rows = run.read_metrics()
    processes = int(run.read_manifest().get("processes") or 1)
    rollouts = task.steps * task.rollouts_per_step * processes
    shares = {task.domain: 1.0} if task.domain is not None else _shares(rows, plan)
    generations = int(task.recipe.get("num_generations") or 8)
    resampled = _sums(rows, "mixture/resampled_groups", task.generations_per_step)
    return Cost(
        runs=1,
        steps=task.steps,
        rollouts=rollouts,
        domains={domain: share * rollouts for domain, share in shares.items()},
        resampled=sum(value for _, value in resampled) * generations,
        tokens=max((value for _, value in _series(rows, "num_tokens")), default=math.nan),
        seconds=sum(value for _, value in _sums(rows, "step_time"))
        if any("step_time" in r for r in rows)
        else math.nan,
    )


def _shares(rows: Sequence[Mapping[str, Any]], plan: Plan) -> dict[str, float]:
    """Return the mean share that every domain had of the batches; what was asked for where it was not logged."""
    shares = {}
    for domain, asked in plan.shares.items():
        sums = list(_sums(rows, f"domain/{domain}/share"))
        steps = sum(count for count, _ in sums)
        shares[domain] = sum(value for _, value in sums) / steps if steps else asked
    return shares


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [
        (row["step"], float(row[key]))
        for row in rows
        if isinstance(row.get("step"), int) and isinstance(row.get(key), int | float)
    ]


def counted(rows: Sequence[Mapping[str, Any]], key: str, per_step: float = 1.0) -> Iterator[tuple[int, int, float]]:
    """Yield, per logged line that has `key`, its step, how many values it averages and their mean.

    Args:
        rows: Lines of metrics.jsonl.
        key: Of a number.
        per_step: Values per optimizer step.
    """
    before = 0
    for step, mean in _series(rows, key):
        until = math.ceil(step * per_step - 1e-9)  # a batch that feeds several steps is logged at the first of them
        yield step, until - before, mean
        before = until


def _sums(rows: Sequence[Mapping[str, Any]], key: str, per_step: float = 1.0) -> Iterator[tuple[int, float]]:
    """Yield, per logged line, how many values it averages (so many `per_step`) and the sum over them."""
    for _, count, mean in counted(rows, key, per_step):
        yield count, mean * count


def check_equal(outcomes: Sequence[Outcome]) -> None:
    """Refuse to compare what was evaluated on different problems.

    Raises:
        ProblemError: Which two.
    """
    for other in outcomes[1:]:
        first = outcomes[0]
        if other.heldout != first.heldout:
            raise ProblemError(
                f"{next(iter(first.runs.values()))} and {next(iter(other.runs.values()))} were evaluated on different "
                "held-out problems: they changed on disk between the runs. Start a new comparison with --output."
            )


def check_samples(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a remark where evaluations drew another number of samples or runs had another number of processes."""
    remarks = []
    if len({outcome.processes for outcome in outcomes}) > 1:
        remarks.append("The runs had different numbers of processes, so their batches and costs are not equal.")
    if len({score.samples for outcome in outcomes for score in outcome.scores}) > 1:
        remarks.append("The evaluations drew different numbers of samples.")
    return remarks
