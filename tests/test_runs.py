"""The run directory: written whole or not at all, refused when it is another run's, read also when half-written."""

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mcpo_rl.errors import RunError
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.runs.agreement import differences
from mcpo_rl.runs.manifest import data_fingerprint, plain, without_secrets
from mcpo_rl.types import Problem

CONFIG = {
    "model": "builtin:tiny",
    "training": {"learning_rate": 1e-4, "max_steps": 60},
    "problems": [{"path": "a.jsonl"}],
}


def batch(step: int = 10, **changes: object) -> RolloutBatch:
    columns: dict[str, object] = {
        "step": step,
        "prompts": [[{"role": "user", "content": "2+3?"}], "plain text"],
        "completions": ["five <b>5</b> \u2028 线", "no \ud800 surrogate"],
        "domains": ["math", "logic"],
        "prompt_ids": [0, 1],
        "rewards": [1.0, None],
        "correct": [True, False],
        "usable": [True, False],
        "verdicts": ["correct", "error"],
        "features": np.arange(6, dtype=np.float32).reshape(2, 3),
        "positives": [[1], []],
        "positive_scores": [[0.25], []],
        "answers": ["5", ""],
        "details": ["", "no answer \ud800"],
        "tokens": [7, 64],
        "truncated": [False, True],
        "term": {"temperature": 0.1, "negatives": "all"},
    }
    return RolloutBatch(**{**columns, **changes})  # type: ignore[arg-type]


class TestCreate:
    def test_lays_out_the_directory(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        manifest = run.read_manifest()
        assert run.read_config() == CONFIG
        assert manifest["status"] == "running" and manifest["ended"] is None
        assert set(manifest["packages"]) >= {"mcpo-rl", "torch", "trl", "transformers"}
        assert manifest["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
        assert run.rollouts.is_dir() and run.checkpoints.is_dir()

    def test_refuses_another_run_and_says_what_is_there(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.append_metrics({"step": 7, "loss": 1.0})
        run.write_manifest(method="mcpo", status="interrupted")
        with pytest.raises(
            RunError, match=r"already holds a run \(mcpo, interrupted, .*step 7 logged\).*--resume.*--output_dir"
        ):
            RunDirectory.create(tmp_path / "run", CONFIG)

    def test_refuses_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        for resume in (False, True):
            with pytest.raises(RunError, match=r"not a run directory.*thesis\.tex"):
                RunDirectory.create(tmp_path, CONFIG, resume=resume)
        with pytest.raises(RunError, match="is a file"):
            RunDirectory.create(tmp_path / "thesis.tex", CONFIG)

    def test_takes_an_empty_folder_and_resume_without_a_run(self, tmp_path: Path) -> None:
        assert RunDirectory.create(tmp_path, CONFIG, resume=True).read_manifest()["status"] == "running"

    def test_resume_with_another_config_lists_the_keys(self, tmp_path: Path) -> None:
        RunDirectory.create(tmp_path / "run", CONFIG)
        other = {**CONFIG, "training": {"learning_rate": 0.5, "max_steps": 60}}
        with pytest.raises(RunError, match=r"`training\.learning_rate` was 0\.0001, now 0\.5"):
            RunDirectory.create(tmp_path / "run", other, resume=True)
        assert RunDirectory.open(tmp_path / "run").read_config() == CONFIG

    def test_resume_may_lengthen_the_run_and_records_it(self, tmp_path: Path) -> None:
        RunDirectory.create(tmp_path / "run", CONFIG).write_manifest(status="interrupted")
        longer = {**CONFIG, "training": {"learning_rate": 1e-4, "max_steps": 90}}
        run = RunDirectory.create(tmp_path / "run", longer, resume=True)
        manifest = run.read_manifest()
        assert manifest["status"] == "running" and manifest["ended"] is None
        assert manifest["resumed"][0]["changed"] == {"training.max_steps": [60, 90]}
        assert run.read_config() == longer

    def test_a_run_being_written_by_another_process_is_refused(self, tmp_path: Path) -> None:
        script = (
            "import sys; from mcpo_rl.runs import RunDirectory; RunDirectory.create(sys.argv[1], {});"
            "print('ready', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "run")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            with pytest.raises(RunError, match="being written by another process"):
                RunDirectory.create(tmp_path / "run", {}, resume=True)
            writer.communicate()
        assert RunDirectory.create(tmp_path / "run", {}, resume=True)

    def test_neither_torch_nor_an_engine_is_imported(self) -> None:
        heavy = ("torch", "trl", "transformers", "pyarrow", "numpy")
        code = f"import sys, mcpo_rl.runs; print([name for name in {heavy} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"


class TestOpen:
    def test_names_the_nearest(self, tmp_path: Path) -> None:
        RunDirectory.create(tmp_path / "mcpo", CONFIG)
        with pytest.raises(RunError, match="Did you mean `mcpo`"):
            RunDirectory.open(tmp_path / "mcp")
        with pytest.raises(RunError, match="It holds runs: mcpo"):
            RunDirectory.open(tmp_path)

    def test_damaged_manifest(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text("{")
        with pytest.raises(RunError, match="damaged"):
            RunDirectory.open(tmp_path).read_manifest()


class TestManifest:
    def test_merges_and_ends(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.write_manifest(seed=3, data={"train": data_fingerprint([])})
        run.write_manifest(status="finished")
        manifest = run.read_manifest()
        assert manifest["seed"] == 3 and manifest["status"] == "finished" and manifest["ended"] >= manifest["started"]
        with pytest.raises(RunError, match="not 'done'"):
            run.write_manifest(status="done")

    def test_secrets_stay_out(self, tmp_path: Path) -> None:
        run = RunDirectory.create(
            tmp_path / "run", {"hub_token": "abc", "pad_token": "<pad>", "wandb_api_key": "k", "max_tokens": 5}
        )
        assert run.read_config() == {
            "hub_token": "(hidden)",
            "pad_token": "<pad>",
            "wandb_api_key": "(hidden)",
            "max_tokens": 5,
        }
        command = ["train", "--hub_token", "abc", "--training.hub-token=abc", "--seed=1", "x"]
        assert without_secrets(command) == [
            "train",
            "--hub_token",
            "(hidden)",
            "--training.hub-token=(hidden)",
            "--seed=1",
            "x",
        ]

    def test_fingerprint_follows_content_and_order(self) -> None:
        a, b = (Problem(domain="math", prompt=[{"role": "user", "content": c}], reference=c) for c in "ab")
        assert data_fingerprint([a, b]) == data_fingerprint([a, b])
        assert data_fingerprint([a, b])["sha256"] != data_fingerprint([b, a])["sha256"]
        assert data_fingerprint([a, b])["domains"] == {"math": 2}

    def test_plain_values(self) -> None:
        assert plain({"a": (1, Path("x")), "b": np.float32(0.5), "c": {2, 1}}) == {"a": [1, "x"], "b": 0.5, "c": [1, 2]}


def test_differences_look_at_nested_keys_and_lists() -> None:
    blocking, harmless = differences({"p": [{"n": 1}], "x": {"logging_steps": 1}}, {"p": [{"n": 2}, {}], "x": {}})
    assert set(blocking) == {"p.0.n", "p.1", "x"}
    assert set(harmless) == {"x.logging_steps"}


class TestMetrics:
    def test_round_trip(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        rows = [
            {"step": 1, "loss": 0.5, "text": "a\u2028b"},
            {"step": 2, "loss": float("nan")},
            {"step": 3, "x": np.float64(2.0)},
        ]
        for row in rows:
            run.append_metrics(row)
        assert run.read_metrics() == [rows[0], {"step": 2, "loss": None}, {"step": 3, "x": 2.0}]
        with pytest.raises(RunError, match="integer `step`"):
            run.append_metrics({"loss": 1.0})

    def test_truncate(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        for step in (1, 2, 3, 4):
            run.append_metrics({"step": step})
            run.write_rollouts(batch(step))
        run.truncate_metrics(2)
        assert [row["step"] for row in run.read_metrics()] == [1, 2]
        assert run.rollout_steps() == [1, 2]
        run.append_metrics({"step": 3})
        assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]

    def test_half_a_line_is_skipped_reported_and_kept_apart(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.append_metrics({"step": 1})
        with run.metrics_file.open("a") as file:
            file.write('{"step": 2, "lo')
        reader = RunDirectory.open(run.path)
        assert reader.read_metrics() == [{"step": 1}]
        assert reader.remarks == [f"{run.metrics_file}: skipped 1 unreadable line(s), the first is line 2."]
        run.append_metrics({"step": 3})
        assert run.read_metrics() == [{"step": 1}, {"step": 3}]


class TestRollouts:
    def test_round_trip(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        written = batch()
        assert run.write_rollouts(written).name == "step_000010.parquet"
        (read,) = run.read_rollouts()
        assert read.completions == [written.completions[0], "no ? surrogate"]
        assert np.array_equal(read.features, written.features) and read.embeddings is None
        for name in (
            "step",
            "prompts",
            "domains",
            "prompt_ids",
            "rewards",
            "correct",
            "usable",
            "verdicts",
            "positives",
            "positive_scores",
            "answers",
            "tokens",
            "truncated",
            "term",
        ):
            assert getattr(read, name) == getattr(written, name), name
        assert read.details == ["", "no answer ?"]

    def test_files_from_before_the_scores_were_kept(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        path = run.write_rollouts(batch())
        later = ["positive_scores", "answers", "details", "tokens", "truncated"]
        pq.write_table(pq.read_table(path).drop_columns(later).replace_schema_metadata(None), path)
        (read,) = run.read_rollouts()
        assert read.positives == [[1], []] and read.positive_scores == [[], []]
        assert read.answers == read.details == read.tokens == read.truncated == [] and read.term == {}

    def test_unknown_verdicts_and_no_rollouts(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.write_rollouts(batch(verdicts=[], positives=[], positive_scores=[], features=None))
        columns = [field.name for field in fields(RolloutBatch) if field.name not in ("step", "term", "embeddings")]
        empty: dict[str, object] = {name: [] for name in columns if name != "features"}
        run.write_rollouts(batch(20, **empty, features=np.zeros((0, 3), np.float32)))
        first, second = run.read_rollouts()
        assert first.verdicts == ["", ""] and first.positives == [[], []] and first.features is None
        assert second.step == 20 and len(second) == 0

    def test_columns_must_fit(self) -> None:
        with pytest.raises(RunError, match="rewards has 1 rows, but there are 2 completions"):
            batch(rewards=[1.0])
        with pytest.raises(RunError, match=r"features has shape \(3, 1\)"):
            batch(features=np.zeros((3, 1), np.float32))
        with pytest.raises(RunError, match="2 scores for the 1 positives of row 0"):
            batch(positive_scores=[[0.1, 0.2], []])
        with pytest.raises(RunError, match="tokens has 3 rows"):
            batch(tokens=[1, 2, 3])

    def test_damaged_files_are_skipped_and_told(self, tmp_path: Path) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.write_rollouts(batch(10))
        (run.rollouts / "step_000020.parquet").write_bytes(b"PAR1 cut")
        assert [read.step for read in run.read_rollouts()] == [10]
        assert "step_000020" in run.remarks[0]
        with pytest.raises(RunError, match="step_000020"):
            run.read_rollouts(step=20)
        with pytest.raises(RunError, match="no rollouts of step 5; steps kept: 10, 20"):
            run.read_rollouts(step=5)


class TestFullDisk:
    def test_a_file_is_whole_or_absent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = RunDirectory.create(tmp_path / "run", CONFIG)
        run.write_rollouts(batch(10))
        before = (run.rollouts / "step_000010.parquet").read_bytes()

        def full(batch: RolloutBatch, path: Path) -> None:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("mcpo_rl.runs.directory.write_batch", full)
        with pytest.raises(RunError, match=r"No space left to write .*step_000010\.parquet \([\d.]+ MiB free"):
            run.write_rollouts(batch(10))
        assert os.listdir(run.rollouts) == ["step_000010.parquet"]
        assert (run.rollouts / "step_000010.parquet").read_bytes() == before

    def test_a_short_write_leaves_no_half_line(self, tmp_path: Path) -> None:
        # A limit on the file's size cuts the write as a full disk does: some bytes go in, the rest does not.
        script = (
            "import resource, signal, sys; from mcpo_rl.runs import RunDirectory\n"
            "run = RunDirectory.create(sys.argv[1], {}); run.append_metrics({'step': 1})\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (30, 30)); run.append_metrics({'step': 2, 'text': 'x' * 100})"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "run")], capture_output=True, text=True, check=False
        )
        assert "RunError: Cannot write" in done.stderr
        assert (tmp_path / "run" / "metrics.jsonl").read_text() == json.dumps({"step": 1}) + "\n"


def test_time_is_recorded_in_utc(tmp_path: Path) -> None:
    started = RunDirectory.create(tmp_path / "run", CONFIG).read_manifest()["started"]
    assert started.endswith("+00:00") and started[:4] == time.strftime("%Y", time.gmtime())
