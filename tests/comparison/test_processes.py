"""Tasks as processes: what they print, how they are stopped, which GPUs and cores they get."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.processes import ChildProcess, Processes
from mcpo_rl.errors import ConfigError, RunError

STOPPABLE = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
print("ready", flush=True)
signal.pause()
"""


def wait_for(child: ChildProcess) -> int:
    status = child._process.wait(timeout=60)
    assert child.poll() == status
    return status


def test_what_it_prints_goes_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "run.log"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    for _ in range(2):  # a run that goes on goes on in its log
        assert wait_for(ChildProcess([sys.executable, "-c", code], log, os.environ)) == 3
    assert sorted(log.read_text().split()) == ["err", "err", "out", "out"]


def test_interrupt_is_ctrl_c(tmp_path: Path) -> None:
    read, write = os.pipe()
    log = tmp_path / "log"
    os.mkfifo(log)
    child = None
    try:
        # The log is a pipe here, so that reading from it waits until the process is ready for its signal.
        os.close(read), os.close(write)
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        child = ChildProcess([sys.executable, "-c", STOPPABLE], log, os.environ)
        os.set_blocking(reader, True)
        assert os.read(reader, 5) == b"ready"
        assert child.poll() is None
        child.interrupt()
        assert wait_for(child) == 130
        child.interrupt()  # it is gone: nothing happens
        os.close(reader)
    finally:
        if child is not None and child.poll() is None:
            child._process.kill()


def test_a_launcher_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no command `accelerat` to launch runs with"):
        ChildProcess(["accelerat"], tmp_path / "log", os.environ)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write"):
        ChildProcess([sys.executable], tmp_path / "file" / "log", os.environ)


def test_gpus_are_shared(planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(["grpo"])
    four = Processes(plan, jobs=2, gpus=["0", "3", "5", "7"])
    assert four.environment(0, alone=False)["CUDA_VISIBLE_DEVICES"] == "0,3"
    assert four.environment(1, alone=False)["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert four.environment(1, alone=True)["CUDA_VISIBLE_DEVICES"] == "5"
    with pytest.raises(ConfigError, match=r"--jobs 3: there are 2 GPU\(s\) to share"):
        Processes(plan, jobs=3, gpus=["0", "1"])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert Processes(plan, jobs=3).environment(0, alone=True)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in Processes(plan).environment(0, alone=True)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert Processes(plan, jobs=3).environment(0, alone=True)["OMP_NUM_THREADS"] == "5"


def test_training_is_launched_and_merging_and_evaluating_are_not(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(["merge"])
    commands = []
    monkeypatch.setattr(
        "mcpo_rl.comparison.processes.ChildProcess", lambda command, log, environment: commands.append(command)
    )
    processes = Processes(plan, launcher=["torchrun", "--nproc_per_node", "2"])
    train, merge = plan.tasks[0], plan.tasks[-1]
    processes(train, 0, False), processes(train, 0, True), processes(merge, 0, False)
    launched, evaluated, merged = commands
    assert launched == ["torchrun", "--nproc_per_node", "2", "-m", "mcpo_rl", *plan.words(train)]
    assert evaluated == [sys.executable, "-m", "mcpo_rl", *plan.words(train)]
    assert merged == [sys.executable, "-m", "mcpo_rl", *plan.words(merge)]
