"""Starts one process per rank, waits for all of them, and ends all with the cause as soon as one of them fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

TESTS = Path(__file__).parent.parent
TAIL = 4000
"""Characters of a rank's output that an error shows."""
GRACE_S = 5.0
"""Time for the rest of an ended rank's output to arrive."""


class LaunchError(AssertionError):
    """A rank failed or the time was up; the message holds the last lines of its output."""


def launch(
    module: str,
    arguments: Sequence[str] = (),
    *,
    ranks: int,
    timeout_s: float = 240,
    environment: Mapping[str, str] | None = None,
    codes: Sequence[int] = (0,),
    group: bool = True,
) -> list[str]:
    """Run `python -m module *arguments` once per rank, from the folder of the tests.

    Args:
        module: as Python finds it from there, e.g. `engines.worker`.
        arguments: the same for each rank.
        ranks: processes; the variables of torchrun tell each its place.
        timeout_s: for all of it; then every rank writes down where it is and is killed.
        environment: further variables.
        codes: exit codes that are no failure.
        group: whether to end the ranks' process group when all went well (`engines.rank`).

    Returns:
        What each rank wrote, stdout and stderr in one.

    Raises:
        LaunchError: with the output of the rank that failed first, or of all where the time was up.
    """
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    settings |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    settings |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), **(environment or {})}
    command = [sys.executable, "-X", "faulthandler", "-m", *(["engines.rank"] if group else []), module, *arguments]
    processes: list[subprocess.Popen[str]] = []
    try:
        for rank in range(ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(_start(command, {**os.environ, **settings, **own}))
        outputs = [_Output(process) for process in processes]
        _wait(processes, outputs, codes, time.monotonic() + timeout_s)
        return [output.read() for output in outputs]
    finally:
        for process in processes:
            _kill(process)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    # A session of its own: what the rank itself started ends with it.
    return subprocess.Popen(
        command,
        cwd=TESTS,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


class _Output:
    """Reads what a process writes while it runs, so that no full pipe stops it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lines = process, [""]
        self._thread = Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def read(self) -> str:
        self._thread.join(GRACE_S)
        return "".join(self._lines)


def _wait(
    processes: list[subprocess.Popen[str]], outputs: list[_Output], codes: Sequence[int], deadline: float
) -> None:
    while any(process.poll() is None for process in processes):
        _check(processes, outputs, codes)
        if time.monotonic() > deadline:
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGABRT)  # faulthandler writes down every thread's stack
            time.sleep(1)
            raise LaunchError(f"The time was up and ranks were still running.\n{_report(range(len(outputs)), outputs)}")
        time.sleep(0.05)
    _check(processes, outputs, codes)


def _check(processes: list[subprocess.Popen[str]], outputs: list[_Output], codes: Sequence[int]) -> None:
    failed = [rank for rank, process in enumerate(processes) if process.poll() not in (None, *codes)]
    if failed:
        ends = ", ".join(f"rank {rank} with {processes[rank].returncode}" for rank in failed)
        raise LaunchError(f"Of {len(processes)} ranks these ended: {ends}.\n{_report(failed, outputs)}")


def _report(ranks: Iterable[int], outputs: list[_Output]) -> str:
    return "\n".join(f"--- rank {rank}\n{outputs[rank].read()[-TAIL:]}" for rank in ranks)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
