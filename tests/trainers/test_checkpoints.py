"""Checkpoints: resumed equals uninterrupted, Ctrl-C, a full disk, and what may be resumed from."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from mcpo_rl.errors import CheckpointError
from mcpo_rl.trainers.trl import InterruptCallback, ProgressCallback, RunMetricsCallback, find_last_complete_checkpoint
from mcpo_rl.trainers.trl.running.callbacks import GenerationAlignment
from mcpo_rl.trainers.trl.running.checkpoint import STATE_FILE, read_state, whole_or_absent, write_state

from .conftest import history, make_dataset, parameters_of

SAVING = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6, "contrastive_warmup_steps": 4}


def assert_same(first, second):
    expected, found = parameters_of(first), parameters_of(second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    if first._pool_phase is not None:
        a, b = (trainer._pool_phase.objective.head.state_dict() for trainer in (first, second))
        assert all(torch.equal(a[name], b[name]) for name in a)
        assert first._pool_phase.strength.state_dict() == second._pool_phase.strength.state_dict()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rows": 6},  # two generation batches are an epoch: the checkpoint is inside the second epoch
        {"rows": 9},  # the checkpoint is exactly at the end of the first epoch
        {"rows": 6, "steps_per_generation": 4, "save_steps": 2},  # a generation batch feeds two steps
        {"contrastive_coef": 0.0, "rows": 6},
        {"transferability": "random", "contrastive_coef": 0.5},
    ],
)
def test_resumed_equals_uninterrupted(make_trainer, tmp_path, options):
    options = {**SAVING, **options}
    dataset = make_dataset(options.pop("rows", 12))
    straight = make_trainer(dataset=dataset, output_dir=str(tmp_path / "straight"), **options)
    straight.train()
    middle = sorted((tmp_path / "straight").glob("checkpoint-*"))[0]
    assert middle.name != "checkpoint-6"
    shutil.copytree(middle, tmp_path / "resumed" / middle.name)
    torch.manual_seed(99)  # whatever the new process drew before
    resumed = make_trainer(dataset=dataset, output_dir=str(tmp_path / "resumed"), **options)
    resumed.train(resume_from_checkpoint=True)
    assert_same(straight, resumed)
    first = int(middle.name.split("-")[1])
    assert history(resumed, "loss") == history(straight, "loss")
    assert [row["step"] for row in resumed.state.log_history if "loss" in row] == list(range(1, 7))
    assert 0 < first < 6


def test_a_checkpoint_waits_until_the_rollouts_are_used_up(make_trainer, tmp_path):
    make_trainer(**{**SAVING, "steps_per_generation": 4, "save_steps": 1, "max_steps": 5}).train()
    names = {path.name for path in (tmp_path / "out").glob("checkpoint-*")}
    assert names == {"checkpoint-2", "checkpoint-4", "checkpoint-5"}  # the last step is saved as it is


def test_alignment_holds_back_and_lets_go():
    class Control:
        should_save, should_training_stop = True, False

    boundary = [False]
    alignment = GenerationAlignment(lambda: boundary[0])
    control = Control()
    alignment.on_step_end(None, None, control)
    assert not control.should_save
    boundary[0] = True
    alignment.on_step_end(None, None, control)
    assert control.should_save
    control.should_save = False
    alignment.on_step_end(None, None, control)
    assert not control.should_save


class SendSignal(TrainerCallback):
    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("options", [{}, {"steps_per_generation": 4}])
def test_ctrl_c_saves_and_the_resumed_run_is_the_uninterrupted_one(make_trainer, tmp_path, options):
    options = {**SAVING, "save_steps": 100, **options}
    straight = make_trainer(output_dir=str(tmp_path / "straight"), **options)
    straight.train()
    handler = signal.getsignal(signal.SIGINT)
    told = []
    interrupt = InterruptCallback(notify=told.append)
    cut = make_trainer(output_dir=str(tmp_path / "cut"), options={"callbacks": [interrupt, SendSignal(2)]}, **options)
    cut.train()
    assert interrupt.interrupted and len(told) == 1
    stopped_at = 4 if "steps_per_generation" in options else 3
    assert cut.state.global_step == stopped_at
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = make_trainer(output_dir=str(tmp_path / "cut"), options={"callbacks": [InterruptCallback()]}, **options)
    resumed.train(resume_from_checkpoint=True)
    assert_same(straight, resumed)


def test_a_second_ctrl_c_stops_at_once(make_trainer):
    handler = signal.getsignal(signal.SIGINT)
    interrupt = InterruptCallback()
    trainer = make_trainer(options={"callbacks": [interrupt, SendSignal(1, times=2)]})
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.state.global_step == 1
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_at_the_last_step_is_no_interruption(make_trainer):
    interrupt = InterruptCallback()
    trainer = make_trainer(options={"callbacks": [interrupt, SendSignal(2)]}, max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 3 and not interrupt.interrupted


def test_no_signal_no_interruption(make_trainer):
    interrupt = InterruptCallback()
    make_trainer(options={"callbacks": [interrupt]}, max_steps=1).train()
    assert not interrupt.interrupted


def failing(kind):
    if kind == "oserror":
        return OSError(errno.ENOSPC, "No space left on device")
    return RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/1")


@pytest.mark.parametrize("where", ["torch.save", "state"])
@pytest.mark.parametrize("kind", ["oserror", "torch"])
def test_a_full_disk_leaves_the_last_checkpoint(make_trainer, tmp_path, monkeypatch, where, kind):
    trainer = make_trainer(**{**SAVING, "save_steps": 2, "save_total_limit": 1})
    original = torch.save

    def save(content, target, *args, **kwargs):
        late = "checkpoint-4" in str(target)
        if late and (STATE_FILE in str(target)) == (where == "state"):
            Path(target).write_bytes(b"half")
            raise failing(kind)
        return original(content, target, *args, **kwargs)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(CheckpointError, match=r"checkpoint-4 could not be written .* MiB are .*checkpoint-2\. Free"):
        trainer.train()
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-2"}
    assert find_last_complete_checkpoint(tmp_path / "out") == tmp_path / "out" / "checkpoint-2"
    assert trainer.args.save_total_limit == 1


def test_a_disk_that_is_really_full(make_trainer, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        trainer = make_trainer(**{**SAVING, "save_steps": 1, "output_dir": str(small / "out"), "max_steps": 8})
        with pytest.raises(CheckpointError, match="could not be written"):
            trainer.train()
        last = find_last_complete_checkpoint(small / "out")
        assert last is not None and last.name == f"checkpoint-{trainer.state.global_step - 1}"
        shutil.copytree(last, tmp_path / "roomy" / last.name)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    resumed = make_trainer(**{**SAVING, "output_dir": str(tmp_path / "roomy"), "max_steps": 8})
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8


def test_other_errors_while_saving_pass_through(tmp_path):
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(RuntimeError, match="a bug"), whole_or_absent(tmp_path / "checkpoint-1", owner=True):
        raise RuntimeError("a bug")
    assert (tmp_path / "checkpoint-1").exists()


def test_incomplete_checkpoints_are_passed_over(make_trainer, tmp_path):
    make_trainer(**SAVING).train()
    (tmp_path / "out" / "checkpoint-6" / STATE_FILE).unlink()
    (tmp_path / "out" / "checkpoint-x").mkdir()
    assert find_last_complete_checkpoint(tmp_path / "out") == tmp_path / "out" / "checkpoint-3"
    assert find_last_complete_checkpoint(tmp_path / "nowhere") is None
    with pytest.raises(CheckpointError, match=r"has no mcpo_state\.pt"):
        make_trainer(**SAVING).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))
    (tmp_path / "out" / "checkpoint-3" / STATE_FILE).write_bytes(b"half")
    with pytest.raises(CheckpointError, match="cannot be read"):
        make_trainer(**SAVING).train(resume_from_checkpoint=True)


def test_nothing_to_resume_from(make_trainer):
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        make_trainer().train(resume_from_checkpoint=True)


def test_checkpoints_that_do_not_fit(make_trainer, tmp_path):
    make_trainer(**{**SAVING, "max_steps": 3}).train()
    with pytest.raises(CheckpointError, match=r"embedding_dim 128, this one 64.*head_dim"):
        make_trainer(**SAVING, head_dim=64).train(resume_from_checkpoint=True)
    make_trainer(**{**SAVING, "max_steps": 3}, contrastive_coef=0.0, output_dir=str(tmp_path / "plain")).train()
    with pytest.raises(CheckpointError, match="written with contrastive_coef=0"):
        make_trainer(**SAVING, output_dir=str(tmp_path / "plain")).train(resume_from_checkpoint=True)


def test_a_rank_on_the_cpu_reads_its_state(tmp_path):
    # Under torchrun the first process computes on `cpu:0`, which torch.load does not know.
    write_state(tmp_path, {"step": 3, "contrastive": torch.ones(2)})
    assert read_state(tmp_path, torch.device("cpu", 0))["contrastive"].tolist() == [1.0, 1.0]


def test_only_so_many_checkpoints_are_kept(make_trainer, tmp_path):
    make_trainer(**{**SAVING, "save_steps": 1, "max_steps": 4}, save_total_limit=2).train()
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-4"}


def test_metrics_and_progress_callbacks(make_trainer, capsys):
    class Directory:
        def __init__(self):
            self.rows, self.truncated = [], []

        def append_metrics(self, metrics):
            self.rows.append(metrics)

        def truncate_metrics(self, step):
            self.truncated.append(step)

    directory = Directory()
    options = {"callbacks": [RunMetricsCallback(directory), ProgressCallback("mcpo", line_every=2)]}
    trainer = make_trainer(options=options, disable_tqdm=False, **{**SAVING, "save_steps": 2, "max_steps": 4})
    trainer.train()
    assert [row["step"] for row in directory.rows if "loss" in row] == [1, 2, 3, 4]
    assert not directory.truncated
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("mcpo ")]
    assert [line.split()[1] for line in lines] == ["2/4", "4/4"]
    assert "reward" in lines[1] and "step/s" in lines[1] and "s left" in lines[1]
    assert "'loss'" not in printed.out and "%|" not in printed.err  # neither transformers' printer nor its bar
    make_trainer(options=options, **{**SAVING, "max_steps": 5}).train(resume_from_checkpoint=True)
    assert directory.truncated == [4]


def test_progress_shows_slow_steps_the_other_way_round():
    class State:
        global_step = 1

    progress = ProgressCallback()
    progress._started = time.monotonic() - 60.0
    assert progress._note(State()).endswith("60 s/step")
