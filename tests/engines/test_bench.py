"""The benchmarks that start processes: a pair that takes turns, and ranks whose gradients are compared."""

from __future__ import annotations

import pytest

from mcpo_rl.cli.bench_exactness_trainer import measure_ranks
from mcpo_rl.cli.bench_overhead import CASES, Worker, measure_overhead
from mcpo_rl.cli.bench_overhead_worker import Setting
from mcpo_rl.errors import RunError

pytestmark = pytest.mark.engines


def test_a_pair_of_processes() -> None:
    told: list[tuple[str, int, int]] = []
    case = "training pass, ready completions"
    setting = Setting(turns=2, prompts=3, generations=4, micro_batch=6, completion_length=4)

    class Progress:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self):
            return lambda done, of: told.append((self.name, done, of))

        def __exit__(self, *error: object) -> None:
            told.append((self.name, -1, -1))

    found = measure_overhead(setting, [case], Progress)
    assert case in CASES
    assert told == [(case, 0, 2), (case, 1, 2), (case, 2, 2), (case, -1, -1)]
    (time,), (memory,) = found["time"], found["memory"]
    assert time["source"] == "training" and time["pairs"] == 2
    assert 0 < time["low"] <= time["ratio"] <= time["high"]
    assert memory["mcpo_peak_mib"] > 100
    assert [record["trainer"] for record in found["phases"]] == ["grpo", "mcpo", "mcpo - grpo"]


def test_a_worker_that_fails_is_named() -> None:
    with (
        pytest.raises(RunError, match=r"trains with grpo ended early: .*no model directory at /nowhere/at/all"),
        Worker("grpo", Setting(model="/nowhere/at/all")) as worker,
    ):
        worker.answer()


def test_two_ranks_are_exact() -> None:
    records = measure_ranks(2)
    assert {(record["processes"], record["source"]) for record in records} == {(2, "training"), (2, "old_logps")}
    assert all(
        record["relative_error"] < {"float32": 1e-5, "float64": 1e-12}[record["precision"]] for record in records
    )
