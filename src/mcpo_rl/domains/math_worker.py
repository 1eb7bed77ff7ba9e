"""Computer algebra where it can be killed: a few processes that run math-verify, each started on first need.

`9^{9^{9^9}}` keeps sympy busy for ever, and neither a thread nor a signal handler ends that. So the comparison runs in
a process with limits of time and memory; when an answer exceeds them, the process is killed, the answer is incorrect,
and the next need starts a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from enum import StrEnum
from pathlib import Path

from mcpo_rl.errors import SandboxError

LIMIT_S = 5
"""Seconds of CPU time for one comparison: waiting for a busy processor is not the answer's fault."""
_WALL_S = 60.0
"""Seconds of waiting after which the machine is too busy to verify anything."""
MEMORY_BYTES = 2 << 30
"""Address space of one process (Linux only)."""
_START_S = 120.0
_OUT_OF_MEMORY = "out of memory"
_CHECKS_PER_PROCESS = 2000
"""Then a fresh one: the caches of computer algebra only grow."""


class Comparison(StrEnum):
    """What came of one comparison."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    TOO_HARD = "takes too much time or memory"
    BAD_GOLD = "the reference cannot be parsed"


class MathWorkers:
    """Up to `size` processes, shared by all threads. Safe across `fork`: a forked child starts its own.

    Args:
        size: Processes at one time.
        limit_s: Whole seconds of CPU time for one comparison.
        python: The interpreter; None: the one that runs this library.
    """

    def __init__(self, size: int = 2, limit_s: int = LIMIT_S, python: str | None = None) -> None:
        self._size = size
        self._limit_s = limit_s
        self._python = python
        self._reset()
        os.register_at_fork(after_in_child=self._reset)
        atexit.register(self.close)

    def _reset(self) -> None:
        self._slots = threading.Semaphore(self._size)
        self._idle: list[_Worker] = []

    def close(self) -> None:
        """End the idle processes; the next comparison starts new ones."""
        while self._idle:
            self._idle.pop().end()

    def compare(self, gold: str, answer: str) -> tuple[Comparison, str]:
        """Compare two expressions (LaTeX or plain text) and return what came of it, with a word on why.

        Raises:
            SandboxError: The process cannot be started, or does not get the processor.
        """
        with self._slots:
            try:
                worker = self._idle.pop()
            except IndexError:
                worker = self._new_worker()
            fresh = worker.checks == 0
            result, detail = worker.compare(gold, answer)
            if detail == _OUT_OF_MEMORY and not fresh:
                # Earlier answers may have left it little memory, or something else killed it: try one without a past.
                worker.end()
                worker = self._new_worker()
                result, detail = worker.compare(gold, answer)
            if detail == _OUT_OF_MEMORY or not worker.alive or worker.checks >= _CHECKS_PER_PROCESS:
                worker.end()
            else:
                self._idle.append(worker)
            return result, detail

    def _new_worker(self) -> _Worker:
        return _Worker(self._python or sys.executable, self._limit_s)


class _Worker:
    def __init__(self, python: str, limit_s: int) -> None:
        self.checks = 0
        self._limit_s = limit_s
        self._buffer = b""
        script = Path(__file__).with_name("math_child.py")
        with tempfile.TemporaryFile() as log:
            try:
                self._process = subprocess.Popen(
                    [python, "-P", str(script), str(limit_s), str(MEMORY_BYTES)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                raise SandboxError(f"the math verifier cannot start {python!r}: {error}") from error
            if self._line(time.monotonic() + _START_S) != "ready":
                self.end()
                log.seek(0)
                why = log.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise SandboxError(f"the math verifier's process did not start: {why or 'no sign of life'}")

    def compare(self, gold: str, answer: str) -> tuple[Comparison, str]:
        self.checks += 1
        deadline = time.monotonic() + _WALL_S
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"gold": gold, "answer": answer}).encode() + b"\n")
        gold_reply = self._line(deadline)
        if gold_reply is None:
            return Comparison.BAD_GOLD, self._exceeded()
        if gold_reply != "gold":
            return Comparison.BAD_GOLD, gold_reply.partition(" ")[2]
        reply = self._line(deadline)
        if reply is None or reply == "memory":
            return Comparison.TOO_HARD, _OUT_OF_MEMORY if reply else self._exceeded()
        word, _, detail = reply.partition(" ")
        return Comparison(word), detail

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _exceeded(self) -> str:
        """Return which limit ended the process; end it where none did."""
        if self._process.poll() is None:
            self.end()
            raise SandboxError(f"the math verifier got too little of the processor: no verdict in {_WALL_S:g} s")
        return f"over {self._limit_s} s" if self._process.returncode == -signal.SIGPROF else _OUT_OF_MEMORY

    def _line(self, deadline: float) -> str | None:
        """Return the next line, or None when the deadline passes or the process ends first."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            data = os.read(descriptor, 4096)
            if not data:
                self._process.wait()
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
