"""Runs as the analysis reads them: whole, half-written, empty."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcpo_rl.analysis.reading.loading import load_runs, thin, unique_names
from mcpo_rl.errors import RunError
from mcpo_rl.runs import RunDirectory


def test_reads_everything(two_runs: list[Path]) -> None:
    plain, contrastive = load_runs(two_runs)
    assert (plain.name, plain.method, plain.is_contrastive) == ("grpo", "grpo", False)
    assert (contrastive.name, contrastive.method, contrastive.is_contrastive) == ("mcpo", "mcpo", True)
    assert contrastive.steps == 60 and [batch.step for batch in contrastive.rollouts] == [10, 20, 30, 40, 50, 60]
    assert contrastive.domains == ["code", "logic", "math"]
    assert contrastive.start is not None and contrastive.end is not None and contrastive.remarks == []


def test_series_leave_out_what_is_missing(empty_run: Callable[[str], RunDirectory]) -> None:
    run = empty_run("run")
    for row in ({"step": 1, "x": 0.5}, {"step": 2}, {"step": 3, "x": float("nan")}, {"step": 4, "x": 2}):
        run.append_metrics(row)
    (data,) = load_runs([run.path])
    assert data.series("x") == ([1, 4], [0.5, 2.0])
    assert data.series("never") == ([], [])


def test_a_run_that_has_hardly_begun(empty_run: Callable[[str], RunDirectory]) -> None:
    (data,) = load_runs([empty_run("run").path])
    assert (data.steps, data.method, data.domains, data.rollouts, data.end) == (0, "", [], [], None)


def test_damaged_pieces_become_remarks(empty_run: Callable[[str], RunDirectory]) -> None:
    run = empty_run("run")
    run.append_metrics({"step": 1})
    with run.metrics_file.open("a") as file:
        file.write('{"step":')
    run.eval_file.write_text("{")
    run.manifest_file.write_text("{")
    (run.rollouts / "step_000010.parquet").write_bytes(b"no")
    (data,) = load_runs([run.path])
    assert data.steps == 1 and data.end is None and data.rollouts == [] and data.manifest == {}
    assert len(data.remarks) == 4
    for name in ("metrics.jsonl", "eval.json", "manifest.json", "step_000010"):
        assert any(name in remark for remark in data.remarks), name


def test_refusals(two_runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="at least one"):
        load_runs([])
    with pytest.raises(RunError, match="more than once"):
        load_runs([two_runs[0], two_runs[0] / ".." / "grpo"])
    with pytest.raises(RunError, match="not a run directory"):
        load_runs([tmp_path])


def test_names_are_as_short_as_they_can_be() -> None:
    assert unique_names([Path("/r/grpo"), Path("/r/mcpo")]) == ["grpo", "mcpo"]
    assert unique_names([Path("/r/0/mcpo"), Path("/r/1/mcpo")]) == ["0/mcpo", "1/mcpo"]


def test_thinning_keeps_the_ends() -> None:
    assert thin(range(5), 9) == [0, 1, 2, 3, 4]
    assert thin(range(100), 5) == [0, 25, 50, 74, 99]


def test_thinning_to_one_keeps_the_last() -> None:
    assert thin(range(5), 1) == [4] and thin(range(5), 0) == []


def test_the_seed_is_the_manifests_or_else_the_configs(empty_run: Callable[[str], RunDirectory]) -> None:
    run = empty_run("run")
    assert load_runs([run.path])[0].seed is None
    run.config_file.write_text("seed: 3\n")
    assert load_runs([run.path])[0].seed == 3
    run.write_manifest(seed=7)
    assert load_runs([run.path])[0].seed == 7
    run.config_file.write_text("a: [")
    (data,) = load_runs([run.path])
    assert data.config == {} and any("config.yaml is damaged" in remark for remark in data.remarks)
