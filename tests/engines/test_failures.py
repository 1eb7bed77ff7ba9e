"""`mcpo-rl train` under torchrun, when one of two ranks fails: all end with its cause, and --resume goes on.

One run directory goes through all of it: each launch resumes what the one before left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcpo_rl.runs import RunDirectory

from .launcher import TESTS, _free_port

pytestmark = pytest.mark.engines

RECIPE = {
    "model": "builtin:tiny",
    "seed": 1,
    "problems": [
        {"source": "procedural", "domain": domain, "split": "train", "count": 40, "level": 1, "seed": 0}
        for domain in ("math", "code", "logic")
    ],
    "mixture": {"weights": "equal"},
    "max_steps": 12,
    "num_generations": 4,
    "per_device_train_batch_size": 12,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 16,
    "learning_rate": 1.0e-4,
    "lr_scheduler_type": "constant",
    "gradient_checkpointing": False,
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "steps",
    "save_steps": 2,
}


@dataclass
class Ended:
    """How a launch ended."""

    status: int
    text: str
    lines: list[str]
    """Of our own."""


class Launches:
    """Launches of the same run, which share its directory."""

    def __init__(self, directory: Path) -> None:
        self.run, self.recipe = directory / "run", directory / "recipe.yaml"
        self.recipe.write_text(yaml.safe_dump({**RECIPE, "output_dir": str(self.run)}))
        self._mark = f"mcpo-test-{uuid.uuid4()}"

    def train(self, fault: str, *words: Any, ranks: int = 2, launcher: bool = True) -> Ended:
        """Run the command to its end and check that it leaves no process behind."""
        settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        settings |= {"MCPO_TEST_MARK": self._mark, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        settings |= {"WORLD_SIZE": str(ranks), "RANK": "0", "LOCAL_RANK": "0"}
        python = [sys.executable]
        if launcher:
            python += ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks)]
            python += ["--master_port", settings["MASTER_PORT"]]
        command = [*python, "-m", "engines.faulty", fault, "train", str(self.recipe), *map(str, words)]
        each = [{}] if launcher else [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
        processes = [
            subprocess.Popen(
                command,
                cwd=TESTS,
                env={**os.environ, **settings, **own},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            for own in each
        ]
        try:
            text, _ = processes[0].communicate(timeout=280)
        finally:
            for process in processes[1:] if processes[0].returncode is not None else processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        self._assert_none_left()
        ours = [line for line in text.splitlines() if line.startswith(("mcpo-rl: error", "Stopping", "stopped at"))]
        return Ended(processes[0].returncode, text, ours)

    def _assert_none_left(self) -> None:
        deadline = time.monotonic() + 20
        while (left := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left

    def _processes(self) -> dict[str, str]:
        """Return every process that inherited this test's mark: ranks, verification workers, sandboxes."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (path / "environ").read_bytes():
                    found[path.name] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has just ended
                continue
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        return RunDirectory.open(self.run).read_manifest()

    @property
    def checkpoints(self) -> set[str]:
        return {path.name for path in (self.run / "checkpoints").glob("checkpoint-*")}

    @property
    def failures(self) -> dict[str, str]:
        return {path.stem: path.read_text().splitlines()[0] for path in (self.run / "failures").glob("*.txt")}


def root_cause(ended: Ended) -> str:
    """Return what torchrun shows last."""
    return ended.text.partition("Root Cause")[2]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_run_through_its_failures(tmp_path):
    launches = Launches(tmp_path)

    # A bug on rank 1: its traceback and no other; one line from rank 0; torchrun names the cause last.
    ended = launches.train("bug:1:4")
    assert ended.status == 1
    assert ended.text.count("[rank1]: ValueError: a bug in the reward") == 1
    assert "[rank0]: Traceback" not in ended.text and "closed by peer" not in ended.text
    place = launches.run / "failures" / "rank_1.txt"
    cause = "ValueError: a bug in the reward"
    assert set(ended.lines) <= {f"mcpo-rl: error: rank 0: ended because rank 1 failed: {cause} (see {place})"}
    assert f"traceback : mcpo-rl: rank 1: {cause}" in root_cause(ended)
    assert launches.manifest["status"] == "failed" and launches.manifest["error"] == f"rank 1: {cause}"
    assert launches.failures["rank_1"] == cause and "in bug" in place.read_text()
    assert launches.checkpoints == {"checkpoint-2"}

    # A disk that is full for rank 1 alone, at checkpoint-6: one clear line; what rank 0 has written of it goes too.
    ended = launches.train("disk:1:2", "--resume")
    assert ended.status == 1 and "Traceback" not in ended.text.partition("torch/distributed/elastic")[0]
    assert ended.lines[0].startswith("mcpo-rl: error: rank 1: The checkpoint ")
    assert "checkpoint-6 could not be written ([Errno 28] No space left on device)" in ended.lines[0]
    assert launches.manifest["error"].startswith("rank 1: CheckpointError: ")
    assert launches.checkpoints == {"checkpoint-2", "checkpoint-4"}

    # Killed in the backward pass, as for want of memory.
    ended = launches.train("killed:0:2", "--resume")
    assert ended.status == 1 and "Signal 9 (SIGKILL)" in root_cause(ended)
    assert "[rank1]: Traceback" not in ended.text
    assert launches.checkpoints == {"checkpoint-2", "checkpoint-4"}

    # Hanging: given up after `ddp_timeout`. Without torchrun, which takes half a minute to end a stopped process.
    ended = launches.train("stopped:1:2", "--resume", "--ddp_timeout", 8, launcher=False)
    assert ended.status == 1 and len(ended.lines) == 1
    assert ended.lines[0].startswith(
        "mcpo-rl: error: rank 0: another rank did not answer within 8 s (ddp_timeout): it hangs"
    )
    assert "Traceback" not in ended.text
    assert set(launches.failures) == {"rank_0"}  # the one that is missing hangs

    # Features that are NaN: every rank comes to the same end, and one says so.
    ended = launches.train("nan:1:2", "--resume")
    assert len(ended.lines) == 1 and "2 of 24 rollouts are NaN or infinite (2 from rank 1)" in ended.lines[0]
    assert ended.lines[0].startswith("mcpo-rl: error: rank 0: Step 5:")
    assert launches.manifest["error"].startswith("rank 0: NonfiniteError: ")

    # Another head, or other problems, are refused once.
    ended = launches.train("none:0:0", "--resume", "--head_dim", 64)
    assert len(ended.lines) == 1 and "`head_dim` was '(not set)', now 64" in ended.lines[0]

    # Ctrl-C on the terminal reaches the ranks twice, once through torchrun.
    ended = launches.train("interrupted:0:2", "--resume")
    assert [line.split()[0] for line in ended.lines] == ["Stopping", "stopped"]
    assert ended.lines[1].startswith("stopped at step 6; continue with the launch line of before")
    assert launches.manifest["status"] == "interrupted"
    assert launches.checkpoints == {"checkpoint-2", "checkpoint-4", "checkpoint-6"}
    assert not launches.failures

    # And to the end on one rank, with as many rollouts in all; not with fewer.
    ended = launches.train("none:0:0", "--resume", ranks=1, launcher=False)
    assert ended.status == 2 and "was written on 2 ranks, now there are 1" in ended.lines[0]
    ended = launches.train(
        "none:0:0", "--resume", "--per_device_train_batch_size", 24, "--max_steps", 8, ranks=1, launcher=False
    )
    assert ended.status == 0, ended.text[-2000:]
    assert launches.manifest["status"] == "finished"
    rows = [json.loads(line) for line in (launches.run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "reward" in row] == [1, 2, 3, 4, 5, 6, 7, 8]
