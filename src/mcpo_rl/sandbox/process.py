"""The host's side of one sandboxed process: start it, talk to it within deadlines, end it with all that it started.

Nothing of the program runs in this process, and nothing here waits without a deadline. Safe to use from many threads at
once, each with a `Child` of its own: there is no `preexec_fn`, no signal handler and no shared state.
"""

from __future__ import annotations

import contextlib
import functools
import json
import marshal
import math
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from mcpo_rl.errors import SandboxError

_START_S = 60.0
_END_S = 10.0
_DRAIN_S = 0.2
_CHUNK = 1 << 16
_SENT_IN = ("wire", "confine", "runner")

_BOOT = """
import sys, os, marshal
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part: os._exit(0)
        data += part
    return data
for name, code in marshal.loads(take(int.from_bytes(take(8), "big"))):
    module = sys.modules[name] = type(sys)(name)
    exec(code, module.__dict__)
module.main(int(sys.argv[1]), int(sys.argv[2]))
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use. A limit that the platform lacks is named in `describe()`."""

    wall_s: float = 10.0
    """Seconds for one script, one call or one check, wall-clock; the start of the process does not count."""
    memory_bytes: int = 1 << 30
    """Address space of each of its processes (Linux only)."""
    processes: int = 64
    """Processes and threads at one time (Linux only)."""
    file_bytes: int = 16 << 20
    """Size of any one file that it writes."""
    open_files: int = 128
    """Open descriptors of each of its processes."""
    output_bytes: int = 4 << 20
    """What it may print, to each of stdout and stderr, and the size of one returned value as JSON."""


class Outcome(StrEnum):
    """How a program, or one call of it, ended. All but `COMPLETED` are the program's own doing."""

    COMPLETED = "completed"
    RAISED = "raised an exception"
    EXITED = "ended without an answer"
    TIMED_OUT = "ran out of time"
    TOO_MUCH_OUTPUT = "wrote too much"
    MALFORMED = "wrote something that is no answer"


class ProgramEnded(Exception):
    """The program cannot go on; `outcome` says why. An ordinary event here, not an error of the library."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class Child:
    """One sandboxed process. Use it as a context manager: leaving it kills and removes everything.

    Args:
        job: What `runner.main` reads first: `mode`, `program` and what the mode needs.
        limits: The program's limits.
        life_s: Seconds that the process may live at most: its limit of CPU time, for each of its processes.
        python: The interpreter; None: the one that runs this library.

    Raises:
        SandboxError: The process could not be started.
    """

    def __init__(self, job: dict[str, Any], limits: Limits, *, life_s: float, python: str | None = None) -> None:
        self.limits = limits
        self.layers: list[str] = []
        self.exit_code: int | None = None
        self._status = -1
        self._pending = bytearray()
        self._directory = tempfile.mkdtemp(prefix="mcpo-sandbox-")
        self._process: subprocess.Popen[bytes] | None = None
        self._buffers: dict[int, bytearray] = {}
        self._open: set[int] = set()
        try:
            self._start(python or sys.executable)
        except BaseException:
            self.close()
            raise
        shared = _tasks_of_user()
        inside = {
            "cpu_s": math.ceil(life_s) + 1,
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
            "shared_processes": None if shared is None else shared + 4 * limits.processes,
            "counts_by_namespace": _counts_by_namespace(),
            "file_bytes": limits.file_bytes,
            "open_files": limits.open_files,
        }
        self._pending += _code_sent_in()
        self.send(json.dumps({**job, "limits": inside}))

    def _start(self, python: str) -> None:
        reply_read, reply_write = os.pipe()
        status_read, status_write = os.pipe()
        self._replies, self._status = reply_read, status_read
        self._open |= {reply_read, status_read}
        try:
            self._process = subprocess.Popen(
                [python, "-I", "-S", "-X", "utf8", "-c", _BOOT, str(reply_write), str(status_write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._directory,
                env={},
                pass_fds=(reply_write, status_write),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise SandboxError(f"the sandbox cannot start {python!r}: {error}") from error
        finally:
            os.close(reply_write)
            os.close(status_write)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        # The descriptors are this object's from here on; Popen keeps only the process.
        self._requests, self._stdout, self._stderr = (
            os.dup(pipe.fileno()) for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()
        self._open |= {self._requests, self._stdout, self._stderr}
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
        self._buffers = {fd: bytearray() for fd in (self._replies, self._status, self._stdout, self._stderr)}

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def stdout(self) -> bytes:
        """What the program has printed so far."""
        return bytes(self._buffers[self._stdout])

    @property
    def stderr(self) -> bytes:
        """What the program has printed to stderr so far."""
        return bytes(self._buffers[self._stderr])

    def wait_ready(self) -> None:
        """Wait until the program is confined and about to start.

        Raises:
            SandboxError: It never came to that: the sandbox's own failure, not the program's.
        """
        deadline = time.monotonic() + _START_S
        status = self._buffers[self._status]
        while b"\n" not in status:
            if self._status not in self._open or not self._pump(deadline):
                why = (
                    self.stderr.decode(errors="replace").strip().rpartition("\n")[2]
                    or f"no sign of life within {_START_S:g} s"
                )
                raise SandboxError(f"the sandbox's process did not start: {why}")
        line, _, rest = bytes(status).partition(b"\n")
        word, _, text = line.decode(errors="replace").partition(" ")
        if word != "ready":
            raise SandboxError(f"the sandbox could not confine its process: {text}")
        self.layers = text.split(",")
        status[:] = rest

    def send(self, request: str) -> None:
        """Queue one request; it is written while waiting for the reply."""
        data = request.encode()
        self._pending += b"%010d\n" % len(data) + data

    def receive(self, nonce: str, deadline: float) -> Any:
        """Wait for the reply to the request that carried `nonce` and return its parsed JSON, which is untrusted.

        Args:
            nonce: 32 hexadecimal digits, never used before.
            deadline: On the clock of `time.monotonic`.

        Raises:
            ProgramEnded: No such reply came: out of time, ended, too long, or not in the form of a reply.
        """
        buffer = self._buffers[self._replies]
        self._wait_for_bytes(43, deadline)
        header = bytes(buffer[:43])
        size_text = header[32:42]
        if header[:32] != nonce.encode() or header[42:] != b"\n" or not size_text.isdigit():
            raise ProgramEnded(Outcome.MALFORMED, "what it wrote to the reply pipe is no reply")
        size = int(size_text)
        if size > self.limits.output_bytes:
            raise ProgramEnded(Outcome.TOO_MUCH_OUTPUT, f"its answer takes {size} bytes of JSON")
        self._wait_for_bytes(43 + size, deadline)
        payload = bytes(buffer[43 : 43 + size])
        del buffer[: 43 + size]
        try:
            return json.loads(payload)
        except (ValueError, RecursionError):
            raise ProgramEnded(Outcome.MALFORMED, "its reply is not JSON") from None

    def _wait_for_bytes(self, count: int, deadline: float) -> None:
        buffer = self._buffers[self._replies]
        while len(buffer) < count:
            if self._status not in self._open:
                # It has ended; its last words may still be in the pipe, which a descendant may hold open.
                while self._replies in self._open and self._pump(time.monotonic() + _DRAIN_S):
                    pass
                if len(buffer) < count:
                    raise ProgramEnded(Outcome.EXITED, self.how_it_ended())
            elif self._replies not in self._open:
                if not self._pump(min(deadline, time.monotonic() + _DRAIN_S)):
                    raise ProgramEnded(Outcome.EXITED, "it closed the reply pipe before it answered")
            elif not self._pump(deadline):
                raise ProgramEnded(Outcome.TIMED_OUT, f"out of time ({self.limits.wall_s:g} s)")

    def wait_end(self, deadline: float) -> None:
        """Wait until the program has ended by itself; `exit_code` is set then.

        Raises:
            ProgramEnded: It was still running at the deadline, or printed too much.
        """
        while self._status in self._open:
            if not self._pump(deadline):
                raise ProgramEnded(Outcome.TIMED_OUT, f"out of time ({self.limits.wall_s:g} s)")
        while self._open & {self._stdout, self._stderr} and self._pump(time.monotonic() + _DRAIN_S):
            pass  # what was still in the pipes; a descendant that holds them open is not waited for
        self.how_it_ended()

    def how_it_ended(self) -> str:
        """Return in words how the process ended, as its supervisor saw it, and set `exit_code`."""
        line = re.fullmatch(rb"exit (-?\d{1,3})\n", self._buffers[self._status])
        if line is None:
            return "its supervisor was killed"
        self.exit_code = int(line[1])
        if self.exit_code < 0:
            with contextlib.suppress(ValueError):
                return f"it was killed by {signal.Signals(-self.exit_code).name}"
        return f"it exited with code {self.exit_code}"

    def _pump(self, deadline: float) -> bool:
        """Move bytes in both directions once. Returns False when the deadline passed with nothing to move."""
        poll = select.poll()
        for descriptor in self._open - {self._requests}:
            poll.register(descriptor, select.POLLIN)
        if self._pending and self._requests in self._open:
            poll.register(self._requests, select.POLLOUT)
        remaining = deadline - time.monotonic()
        events = poll.poll(max(0.0, remaining) * 1000)
        for descriptor, _ in events:
            if descriptor == self._requests:
                self._write_pending()
            else:
                self._read_available(descriptor)
        return bool(events) and remaining > 0

    def _write_pending(self) -> None:
        try:
            written = os.write(self._requests, self._pending[: 1 << 20])
            del self._pending[:written]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._pending.clear()  # it has ended; the status pipe will say how
            self._close_descriptor(self._requests)

    def _read_available(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._close_descriptor(descriptor)
            return
        buffer = self._buffers[descriptor]
        buffer += data
        if len(buffer) > self.limits.output_bytes + 4096:
            raise ProgramEnded(Outcome.TOO_MUCH_OUTPUT, f"it wrote more than {self.limits.output_bytes} bytes")

    def _close_descriptor(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        """Kill the program and everything that it started, and remove its directory. Safe to call twice."""
        supervised = self._status in self._open if self._process else False
        for descriptor in list(self._open):
            if descriptor != self._status or not supervised:
                self._close_descriptor(descriptor)  # the supervisor sees the request pipe end, and kills
        if self._process is not None and self._process.returncode is None:
            self._end_group(self._process, supervised)
        for descriptor in list(self._open):
            self._close_descriptor(descriptor)
        _remove(self._directory)

    def _end_group(self, process: subprocess.Popen[bytes], supervised: bool) -> None:
        if supervised:
            poll = select.poll()
            poll.register(self._status, 0)  # its end closes when the supervisor has killed, reaped and left
            poll.poll(_END_S * 1000)
        # Not reaped yet, so its process group's number cannot belong to anyone else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise SandboxError(f"the sandbox's process {process.pid} cannot be killed (stuck in the kernel?)") from None


@functools.cache
def _code_sent_in() -> bytes:
    here = Path(__file__).parent
    modules = [
        (
            f"mcpo_rl.sandbox.{name}",
            compile((here / f"{name}.py").read_bytes(), f"<sandbox {name}>", "exec", dont_inherit=True),
        )
        for name in _SENT_IN
    ]
    data = marshal.dumps(modules)
    return len(data).to_bytes(8, "big") + data


_counted: tuple[float, int] = (float("-inf"), 0)


def _tasks_of_user() -> int | None:
    """Return about how many processes and threads this user has, or None where nobody counts them (root; not Linux)."""
    global _counted
    if sys.platform != "linux" or os.geteuid() == 0:
        return None
    at, count = _counted
    if time.monotonic() - at > 5.0:
        count = 0
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if entry.stat().st_uid == os.geteuid():
                        count += len(os.listdir(f"/proc/{entry.name}/task"))
        _counted = (time.monotonic(), count)
    return count


@functools.cache
def _counts_by_namespace() -> bool:
    """Whether RLIMIT_NPROC counts within a user namespace (Linux 5.14), not over all processes of the user."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and (int(version[1]), int(version[2])) >= (5, 14)


def _remove(directory: str) -> None:
    try:
        os.rmdir(directory)
        return
    except OSError:
        pass  # the program left files there
    try:
        shutil.rmtree(directory)
    except (OSError, RecursionError):
        # Directories without permissions, or nested more deeply than Python's own removal can follow.
        for command in (["chmod", "-R", "u+rwx", directory], ["rm", "-rf", directory]):
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
            )
