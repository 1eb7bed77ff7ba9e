"""What the trackers of `report_to` get: read back from what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mcpo_rl.errors import ConfigError, MissingDependencyError
from mcpo_rl.runs import RolloutBatch
from mcpo_rl.trainers.trl.running.trackers import CUT, as_markdown, check_trackers, rollout_trackers, shown_rows

NOT_TRACKED = {"step", "total_flos", "train_runtime", "train_loss"}
"""Of a log line: its step, and what transformers adds to the summary only."""


def batch_of(**changes: Any) -> RolloutBatch:
    values: dict[str, Any] = {
        "step": 4,
        "prompts": [[{"role": "user", "content": f"{row}?"}] for row in range(5)],
        "completions": ["a", "b", "c", "x ``` y", "z" * (CUT + 3)],
        "domains": ["math", "math", "math", "code", "code"],
        "prompt_ids": [0, 0, 0, 1, 1],
        "rewards": [1.0, 1.0, 1.0, None, 0.0],
        "correct": [True, True, True, False, False],
        "usable": [True, True, True, False, True],
        "verdicts": ["correct", "correct", "correct", "error", ""],
        "positives": [[3, 4], [], [], [], []],
        "positive_scores": [[0.8312, -0.1], [], [], [], []],
        "answers": ["7", "", "", "", ""],
        "features": np.zeros((5, 2), dtype=np.float32),
    }
    return RolloutBatch(**{**values, **changes})


def test_a_few_of_each_domain_and_verdict() -> None:
    rows = shown_rows(batch_of())
    assert [(row["domain"], row["verdict"], row["row"]) for row in rows] == [
        ("code", "error", 3),
        ("code", "incorrect", 4),  # no verifier's word: the reward's
        ("math", "correct", 0),
        ("math", "correct", 1),  # the third one is not shown
    ]
    first = rows[2]
    assert first["positives"] == "code #3 (0.83), code #4 (-0.10)"
    assert (first["step"], first["reward"], first["answer"], first["prompt"]) == (4, 1.0, "7", "user: 0?")
    assert rows[1]["completion"].endswith("zz ... (3 more characters)")
    assert {row["positives"] for row in shown_rows(batch_of(positive_scores=[], answers=[]))} == {
        "",
        "code #3, code #4",
    }


def test_a_text_cannot_leave_its_fence() -> None:
    (row, *_) = shown_rows(batch_of())
    assert "````\nx ``` y\n````" in as_markdown([row])
    assert "```\nuser: 3?\n```" in as_markdown([row])


def test_tensorboard_has_every_metric_and_the_rollouts(make_trainer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(max_steps=3, report_to=["tensorboard"], log_rollouts_steps=2)
    seen: list[RolloutBatch] = []
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    board = EventAccumulator(str(tmp_path / "board"), size_guidance={"tensors": 0, "scalars": 0})
    board.Reload()
    written = {tag: {event.step: event.value for event in board.Scalars(tag)} for tag in board.Tags()["scalars"]}
    lines = [row for row in trainer.state.log_history if "contrastive/loss" in row]
    assert len(lines) == 3
    for line in lines:
        for name in line.keys() - NOT_TRACKED:
            assert written[f"train/{name}"][line["step"]] == pytest.approx(line[name], rel=1e-6), name
    texts = {tag: board.Tensors(tag) for tag in board.Tags()["tensors"] if tag.startswith("rollouts/")}
    assert set(texts) == {f"rollouts/{name}/text_summary" for name in ("math", "code", "logic")}
    assert [batch.step for batch in seen] == [0, 2]
    for batch in seen:
        rows = [row for row in shown_rows(batch) if row["domain"] == "math"]
        (event,) = [event for event in texts["rollouts/math/text_summary"] if event.step == batch.step]
        assert event.tensor_proto.string_val[0].decode() == as_markdown(rows)


def test_without_trackers_there_is_none(make_trainer: Any) -> None:
    assert rollout_trackers(make_trainer(report_to=[])) == []
    assert rollout_trackers(SimpleNamespace(args=SimpleNamespace(report_to=["mlflow"]))) == []


def test_wandb_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    fake = SimpleNamespace(run=None, log=logged.append, Table=lambda dataframe: dataframe.to_dict("records"))
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    (send,) = rollout_trackers(SimpleNamespace(args=SimpleNamespace(report_to=["wandb"])))
    send(batch_of())
    assert logged == []  # a run that was ended by hand
    fake.run = object()
    send(batch_of())
    assert [line["train/global_step"] for line in logged] == [4]
    assert [row["completion"] for row in logged[0]["rollouts"]][2:] == ["a", "b"]


@pytest.mark.slow  # a process of its own: both trackers take their directories when they are imported
@pytest.mark.parametrize("tracker", ["trackio", "wandb"])
def test_the_real_tracker_keeps_metrics_and_rollouts(tracker: str, tmp_path: Path) -> None:
    pytest.importorskip(tracker, reason=f"{tracker} is not installed: pip install 'mcpo-rl[trackers]'")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.trainers.tracked_run", tracker, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env=os.environ
        | {"TRACKIO_DIR": str(tmp_path / "trackio"), "WANDB_DIR": str(tmp_path), "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    lines, kept, tables = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("lines", "kept", "tables"))
    assert len(lines) == 3 and [step for step, _ in tables] == [0, 2]
    assert {"domain", "verdict", "prompt", "completion"} <= set(tables[0][1][0])
    for line in lines:
        for name in line.keys() - NOT_TRACKED:
            assert kept[str(line["step"])][f"train/{name}"] == pytest.approx(line[name]), name


def test_a_tracker_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers("none")
    check_trackers(["tensorboard", "mlflow"])  # of others transformers says itself what is missing
    with pytest.raises(ConfigError, match=r"there is no tracker `wnadb`.*Did you mean `wandb`\?"):
        check_trackers(["wnadb"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"needs the package trackio: pip install 'mcpo-rl\[trackers\]'"):
        check_trackers(["trackio"])
