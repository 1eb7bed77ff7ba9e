"""A recipe of three domains, and run directories as its runs would leave them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.comparison.budget import Batch
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.config import Recipe, recipe_from_mapping
from mcpo_rl.runs import RunDirectory, directory
from mcpo_rl.scores import EvaluationRecord, ProblemScore

ROWS = {"math": 40, "code": 40, "logic": 40}

Accuracies = Mapping[str, Sequence[float]]
"""Domain to the share of correct completions of each of its problems, in halves."""


@pytest.fixture
def recipe() -> Recipe:
    return recipe_from_mapping(
        {
            "model": "builtin:tiny",
            "output_dir": "runs/demo",
            "problems": [{"source": "procedural", "domain": domain, "count": 40} for domain in ROWS],
            "eval_problems": [{"source": "procedural", "domain": domain, "split": "heldout"} for domain in ROWS],
            "mixture": {"weights": "equal"},
            "max_steps": 60,
            "num_generations": 8,
            "per_device_train_batch_size": 96,
            "gradient_accumulation_steps": 1,
            "learning_rate": 2e-4,
        }
    )


@pytest.fixture
def batch() -> Batch:
    return Batch(per_device=96, accumulation=1, num_generations=8, generation_batch=96, steps_per_generation=1)


@pytest.fixture
def planned(tmp_path: Path, recipe: Recipe, batch: Batch) -> Callable[..., Plan]:
    def plan(methods: Sequence[str], seeds: Sequence[int] = (0,), **more: Any) -> Plan:
        return make_plan(tmp_path / "out", recipe, batch, ROWS, methods=methods, seeds=seeds, **more)

    return plan


@lru_cache
def _written(told: str) -> str:
    """An evaluation as it stands in its file, of accuracies as JSON: its intervals take a while."""
    return json.dumps(_record(json.loads(told)).to_json())


def _record(accuracies: Accuracies) -> EvaluationRecord:
    """An evaluation with two samples of every problem."""
    scores = [
        ProblemScore(key=f"{domain}-{place}", domain=domain, samples=2, correct=round(2 * share))
        for domain, shares in accuracies.items()
        for place, share in enumerate(shares)
    ]
    return EvaluationRecord(model="tiny", settings={"samples": 2}, scores=scores)


def _finish(
    plan: Plan,
    task: Task,
    accuracies: Accuracies,
    *,
    start: Accuracies | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
    heldout: str = "same",
) -> RunDirectory:
    """Leave what a run leaves."""
    run = RunDirectory.create(plan.run(task), dict(task.recipe), resume=True)
    for row in rows:
        run.append_metrics(row)
    run.eval_file.write_text(_written(json.dumps(accuracies)))
    if start is not None:
        run.start_eval_file.write_text(_written(json.dumps(start)))
    run.write_manifest(status="finished", data={"heldout": {"sha256": heldout}}, processes=1)
    return run


@pytest.fixture
def finish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunDirectory]:
    """`_finish`: leave what a run leaves. Its facts about this machine take a while, and play no part."""
    monkeypatch.setattr(directory, "starting_facts", lambda: {"status": "running"})
    return _finish
