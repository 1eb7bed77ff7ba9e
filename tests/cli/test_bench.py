"""`mcpo-rl bench`: which benchmarks run, what is printed and written; and the exactness that it reports."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.cli import bench
from mcpo_rl.cli.bench_exactness import measure_objective
from mcpo_rl.cli.bench_mixture import measure_mixture
from mcpo_rl.cli.bench_overhead import median_interval, memory_record, phase_records, time_record
from mcpo_rl.cli.bench_phases import PHASES, PhaseClock
from mcpo_rl.cli.bench_tables import as_markdown, tables

PUBLISHED = Path(__file__).parents[2] / "benchmarks"


def test_exactness_holds() -> None:
    for seed in range(3):
        result = measure_objective(seed)
        for kind in ("micro_batched", "streamed"):
            assert 0 < result[kind]["float64"] < 1e-12 or result[kind]["float64"] == 0
            assert result[kind]["float32"] < 1e-5


def test_exactness_would_show_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcpo_rl.objective import ContrastiveObjective

    real = ContrastiveObjective.evaluate

    def wrong(self: ContrastiveObjective, pool: Any) -> Any:
        step = real(self, pool)
        step.feature_grads[3] *= 2
        return step

    monkeypatch.setattr(ContrastiveObjective, "evaluate", wrong)
    assert measure_objective()["micro_batched"]["float64"] > 1e-3


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `exactness` be measured without a trainer."""
    monkeypatch.setitem(bench.MEASURES, "exactness", measure_objective)


@pytest.mark.usefixtures("small")
def test_chosen_benchmarks_are_printed_and_written(command: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    answer = command("bench", "exactness", "--output", output)
    assert answer.status == 0
    written = json.loads(output.read_text())
    assert list(written) == ["machine", "exactness"]
    assert written["machine"]["cores"] >= 1
    assert written["machine"]["busy_processes"] == 0
    assert "micro_batched.float64" in answer.out


def test_all_run_without_a_name(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []

    def fake(name: str) -> Callable[[], dict[str, Any]]:
        return lambda: {"order": done.append(name) or len(done)}  # type: ignore[func-returns-value]

    for name in bench.MEASURES:
        monkeypatch.setitem(bench.MEASURES, name, fake(name))
    assert command("bench", "--output", tmp_path / "b.json").status == 0
    assert done == [
        *("overhead", "overhead-smollm2", "pool", "exactness", "sandbox", "verify", "service"),
        *("build", "stream", "mixture"),
    ]
    assert json.loads((tmp_path / "b.json").read_text())["sandbox"] == {"order": 5}


@pytest.mark.usefixtures("small")
def test_other_processes_are_kept_busy_meanwhile(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def recorded(*args: Any, **options: Any) -> Any:
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    assert command("bench", "exactness", "--busy", "2", "--output", tmp_path / "b.json").status == 0
    assert json.loads((tmp_path / "b.json").read_text())["machine"]["busy_processes"] == 2
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


def test_the_written_file_as_markdown(command: Callable[..., Any], tmp_path: Path) -> None:
    measured = {"memory_mib": 3.0, "time": [{"case": "a|b", "ratio": 1.02345}, {"case": "c", "ratio": None}]}
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"machine": {"cores": 2}, "overhead": measured}))
    answer = command("bench", "--markdown", path)
    assert answer.status == 0
    lines = answer.out.splitlines()
    start = lines.index("**overhead: time**")
    assert lines[start + 2 : start + 6] == ["| case | ratio |", "| --- | --- |", "| a\\|b | 1.023 |", "| c | - |"]
    assert "| memory_mib | 3 |" in lines


def test_markdown_measures_nothing(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("bench", "exactness", "--markdown", tmp_path / "bench.json")
    assert answer.status == 2
    assert "measures nothing" in answer.err


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.json")), ids=lambda path: path.name)
def test_published_pages_hold_what_was_measured(path: Path) -> None:
    assert path.with_suffix(".md").read_text() == as_markdown(json.loads(path.read_text())) + "\n"


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "holds no measurements"), (None, "cannot read")]
)
def test_files_that_hold_no_measurements(
    command: Callable[..., Any], tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    answer = command("bench", "--markdown", path)
    assert answer.status == 2
    assert message in answer.err


def test_columns_of_a_table_are_aligned() -> None:
    (table,) = tables("x", {"records": [{"name": "first", "size_mib": 1234.5678}, {"name": "b", "size_mib": 0.5}]})
    assert table.text().splitlines() == ["x: records", "  name   size_mib", "  first      1235", "  b           0.5"]


def test_the_mixture_is_measured_with_every_curriculum() -> None:
    result = measure_mixture(rows=2_000, batches=5)
    assert set(result["prompts_64"]) >= {"none", "schedule", "difficulty", "worst_domain", "learnability"}


def test_unknown_benchmark(command: Callable[..., Any]) -> None:
    answer = command("bench", "exactnes")
    assert answer.status == 2
    assert "Did you mean `exactness`?" in answer.err


def test_output_that_cannot_be_written(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("bench", "exactness", "--output", tmp_path / "no" / "b.json")
    assert answer.status == 2
    assert "cannot write" in answer.err


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_phases_interrupt_each_other_and_add_up() -> None:
    ticks = Ticks()
    clock = PhaseClock(now=ticks)

    class Engine:
        def step(self) -> str:
            ticks.now += 1
            with clock.phase("pool"):
                ticks.now += 10
            ticks.now += 100
            return "done"

    engine = Engine()
    clock.wrap(engine, "step", "policy")
    ticks.now = 5
    clock.start()
    ticks.now += 1000
    assert engine.step() == "done"
    found = clock.stop()
    assert {name: seconds for name, seconds in found.items() if seconds} == {"policy": 101, "pool": 10, "other": 1000}
    assert set(found) == set(PHASES)


def test_a_phase_whose_method_is_gone_is_not_passed_over() -> None:
    with pytest.raises(AttributeError, match="backward"):
        PhaseClock().wrap(object(), "backward", "policy")


def turn(step_s: float, **phases: float) -> dict[str, Any]:
    return {
        "step_s": step_s,
        "cpu_s": step_s / 2,
        "phases": {**dict.fromkeys(PHASES, 0.0), **phases},
        "source": "forward",
        "tokens": 300,
    }


def test_ratios_are_of_pairs_and_phases_of_means() -> None:
    # The machine was three times as slow in the second pair, for both.
    slow = turn(3.0, policy=3.0), turn(3.3, pool=0.3, policy=3.0)
    quick = turn(1.0, policy=1.0), turn(1.1, policy=1.1)
    found = {
        "grpo": [quick[0], slow[0], quick[0], {"start_mib": 50, "peak_mib": 100}],
        "mcpo": [quick[1], slow[1], quick[1], {"start_mib": 50, "peak_mib": 110}],
    }
    time = time_record(found)
    assert (time["ratio"], time["low"], time["high"]) == pytest.approx((1.1, 1.1, 1.1))
    assert (time["of_medians"], time["cpu_ratio"]) == pytest.approx((1.1, 1.1))
    assert (time["pairs"], time["source"]) == (3, "forward")
    memory = memory_record(found)
    assert (memory["ratio"], memory["ratio_above_start"]) == (pytest.approx(1.1), pytest.approx(1.2))
    grpo, mcpo, difference = phase_records(found)
    assert grpo["step_s"] == pytest.approx(5 / 3)
    assert mcpo["pool"] == difference["pool"] == pytest.approx(0.1)
    assert difference["step_s"] == pytest.approx(0.5 / 3)


def test_turns_with_the_phases_measured_do_not_count_where_others_are_there() -> None:
    plain = [{**turn(1.0), "phases": None}, turn(9.0)]
    found = {"grpo": [*plain, {}], "mcpo": [*plain, {}]}
    assert time_record(found)["grpo_step_s"] == 1.0


def test_the_interval_of_the_median_holds_it() -> None:
    low, high = median_interval([1.0, 1.1, 1.2, 1.3, 5.0])
    assert 1.0 <= low < 1.2 < high <= 5.0
