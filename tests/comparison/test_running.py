"""The scheduler, by events: what starts when, what stops what. Tasks are played; nothing is trained."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.comparison import running
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.comparison.running import Ended, last_step, run_tasks
from mcpo_rl.runs import RunDirectory

ACCURACIES = {"math": [1.0], "code": [0.5], "logic": [0.0]}
Planned = Callable[..., Plan]
Finish = Callable[..., RunDirectory]


class Stage:
    """Plays tasks: each ends at its second poll, with the status that `endings` has for it (0: it left its run)."""

    def __init__(self, plan: Plan, finish: Finish, endings: dict[str, int] | None = None) -> None:
        self.plan, self.finish, self.endings = plan, finish, endings or {}
        self.events: list[str] = []
        self.places: dict[str, int] = {}
        self.now: set[str] = set()
        self.most = 0
        self.counts: list[tuple[int, int]] = []

    def start(self, task: Task, place: int, evaluate: bool) -> Actor:
        self.events.append(f"{'evaluate' if evaluate else 'start'} {task.name}")
        self.places[task.name] = place
        self.now.add(task.name)
        self.most = max(self.most, len(self.now))
        return Actor(self, task)

    def begins(self, task: Task) -> None: ...

    def ends(self, task: Task, failure: str | None) -> None:
        self.events.append(f"end {task.name}" + (f": {failure}" if failure else ""))

    def steps(self, done: int, total: int) -> None:
        self.counts.append((done, total))

    def run(self, jobs: int = 1) -> Ended:
        return run_tasks(self.plan, self.start, self, jobs=jobs)


class Actor:
    def __init__(self, stage: Stage, task: Task) -> None:
        self.stage, self.task, self.polls, self.interrupted = stage, task, 0, False

    def poll(self) -> int | None:
        self.polls += 1
        if self.polls < 2:
            return None
        self.stage.now.discard(self.task.name)
        status = 130 if self.interrupted else self.stage.endings.get(self.task.name, 0)
        if status == 0:
            self.stage.finish(self.stage.plan, self.task, ACCURACIES)
        return status

    def interrupt(self) -> None:
        self.stage.events.append(f"interrupt {self.task.name}")
        self.interrupted = True


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "POLL_S", 0.0)


def starts(events: Sequence[str]) -> list[str]:
    return [event.removeprefix("start ") for event in events if event.startswith("start ")]


def test_one_after_the_other_in_the_order_of_the_plan(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "merge"])
    stage = Stage(plan, finish)
    ended = stage.run()
    assert not ended.failed and not ended.interrupted
    assert starts(stage.events) == [task.name for task in plan.tasks]
    assert stage.most == 1 and stage.counts[0] == (0, 240) and stage.counts[-1] == (240, 240)


def test_several_at_a_time_and_what_is_made_from_others_last(planned: Planned, finish: Finish) -> None:
    plan = planned(["merge", "sequential"])
    stage = Stage(plan, finish)
    assert not stage.run(jobs=3).failed
    assert stage.most == 3 and set(stage.places.values()) == {0, 1, 2}
    order = starts(stage.events)
    assert sorted(order) == sorted(task.name for task in plan.tasks)
    for task in plan.tasks:
        before = stage.events[: stage.events.index(f"start {task.name}")]
        assert all(f"end {needed}" in before for needed in task.needs)


def test_what_is_finished_is_not_run_again(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "single"])
    for task in plan.tasks[:2]:
        finish(plan, task, ACCURACIES)
    stage = Stage(plan, finish)
    stage.run()
    assert starts(stage.events) == [task.name for task in plan.tasks[2:]]
    again = Stage(plan, finish)
    assert not again.run().failed and not again.events


def test_a_failure_takes_along_what_is_made_from_it_alone(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "merge", "mcpo"])
    log = plan.log(next(task for task in plan.tasks if task.name == "single/seed_0/code"))
    log.parent.mkdir(parents=True)
    log.write_text("step 1\nTraceback\nOutOfMemoryError: 3 GiB short\n\n")
    stage = Stage(plan, finish, {"single/seed_0/code": 1})
    ended = stage.run()
    assert [failed.task.name for failed in ended.failed] == ["single/seed_0/code"]
    assert ended.failed[0].reason == f"OutOfMemoryError: 3 GiB short (exit status 1; see {log})"
    assert not ended.interrupted
    assert starts(stage.events) == [t.name for t in plan.tasks if t.kind == "train"]


def test_a_mistake_stops_the_rest(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo", "mcpo", "single"])
    log = plan.log(plan.tasks[0])
    log.parent.mkdir(parents=True)
    log.write_text("mcpo-rl: error: no model at X.\ntorch says goodbye\n")
    stage = Stage(plan, finish, {"grpo/seed_0": 2})
    ended = stage.run(jobs=2)
    assert starts(stage.events) == ["grpo/seed_0", "mcpo/seed_0"]
    assert "interrupt mcpo/seed_0" in stage.events
    assert [failed.reason for failed in ended.failed] == [f"no model at X. (exit status 2; see {log})"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])  # SIGTERM is what a batch system sends
def test_ctrl_c_asks_each_to_stop_once_and_waits(
    planned: Planned, finish: Finish, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    plan = planned(["grpo", "mcpo", "single"])
    stage = Stage(plan, finish)
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(running.time, "sleep", sleep)
    before = signal.getsignal(number)
    ended = stage.run(jobs=2)
    assert ended.interrupted and not ended.failed
    assert signal.getsignal(number) is before
    assert [event for event in stage.events if event.startswith("interrupt")] == [
        "interrupt grpo/seed_0",
        "interrupt mcpo/seed_0",
    ]
    assert starts(stage.events) == ["grpo/seed_0", "mcpo/seed_0"]
    assert {event for event in stage.events if event.startswith("end")} == {
        "end grpo/seed_0: stopped",
        "end mcpo/seed_0: stopped",
    }


def test_what_several_processes_trained_is_evaluated_by_one(planned: Planned, finish: Finish) -> None:
    plan = planned(["grpo"])

    class Launched(Stage):
        def start(self, task: Task, place: int, evaluate: bool) -> Actor:
            actor = super().start(task, place, evaluate)
            if not evaluate:  # it leaves a model and no evaluation
                self.finish = lambda *args: _only_trained(finish, *args)
            else:
                self.finish = finish
            return actor

    stage = Launched(plan, finish)
    assert not stage.run().failed
    assert stage.events == ["start grpo/seed_0", "evaluate grpo/seed_0", "end grpo/seed_0"]


def _only_trained(finish: Finish, *args: Any) -> None:
    run = finish(*args)
    run.eval_file.unlink()
    (run.path / "model").mkdir()


def test_a_run_that_leaves_nothing_has_failed(planned: Planned) -> None:
    plan = planned(["grpo"])
    stage = Stage(plan, lambda *args: None)
    assert "it printed nothing (exit status 0" in stage.run().failed[0].reason


def test_the_last_step_of_a_run(tmp_path: Path) -> None:
    assert last_step(tmp_path) == 0
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 7, "loss": 0.1}\n{"train_runtime": 3}\n{"step": 8, "lo')
    assert last_step(tmp_path) == 7
    file.write_text('{"step": 1}\n' + '{"step": 9, "x": "' + "y" * 70_000 + '"}\n')
    assert last_step(tmp_path) == 0, "a line longer than what is read is passed over, not misread"


def test_a_second_ctrl_c_is_passed_on(planned: Planned, finish: Finish, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Actor):
        def poll(self) -> int | None:
            asked = self.stage.events.count(f"interrupt {self.task.name}")
            return 130 if asked == 2 else None  # it goes on until it is asked twice

    stage = Stage(planned(["grpo"]), finish)
    monkeypatch.setattr(stage, "start", lambda task, place, evaluate: Slow(stage, task))
    monkeypatch.setattr(running.time, "sleep", lambda seconds: os.kill(os.getpid(), signal.SIGINT))
    assert stage.run().interrupted
    assert stage.events == ["interrupt grpo/seed_0"] * 2 + ["end grpo/seed_0: stopped"]
