"""Inside the sandbox: the zygote, a Python that is ready and waits to be forked.

The host starts it with one socket. The first message says how to confine; the answer is `ready` or why not. Every
further message is either a program to run (with its descriptors) or a job to kill; the program is a forked child that
confines itself and then does the job (`runner.py`). How a child ended goes to its job's own status pipe, so that the
socket carries messages in one direction only. When the host's end closes, everything here ends.

A zygote has one thread, never reads a program and never holds an expected value: what a child inherits from it is
Python, and what it hands to the next child is untouched by the last one. What happens between the fork and the program
is as little as can be: each object that Python looks at there is a page of memory to copy.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` builds enums that nothing here needs
import _socket
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import resource
import select
import struct

from mcpo_rl.sandbox.inside import landlock, library, namespaces, runner, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MESSAGE_BYTES = 1 << 16
_PASSED = 8
_ABOVE = 64
"""The zygote's own descriptors are above this number. Below, the places of a program's descriptors are taken, so that
none that comes with a message has the number of a place that another is to be moved to."""

_NEIGHBOURS = 7
"""Threads are counted for all programs of a zygote together, so each is given room for some that run beside it."""

# Not `os.fork`: what Python does after that one is for processes with other threads, and costs more than the fork.
_fork = ctypes.PyDLL(None, use_errno=True).fork


def main(control: int) -> None:
    """Set up what the first message asks for, then serve until the host is gone."""
    host = _socket.socket(fileno=_high(control))
    null = os.open("/dev/null", os.O_RDWR)
    for place in range(runner.FIRST_FREE):
        os.dup2(null, place)
    setup = json.loads(host.recv(_MESSAGE_BYTES))
    try:
        confinement = Confinement(setup)
    except Exception as error:
        host.send(f"failed {type(error).__name__}: {error}".encode()[:2000])
        os._exit(1)
    host.send(json.dumps({"layers": confinement.layers}).encode())
    gc.collect()
    gc.freeze()  # a child's collector does not touch, and so does not copy, what it shares with its siblings
    Zygote(host, confinement).serve()


class Confinement:
    """What is set up once for all programs, and the steps that each child then takes.

    Args:
        setup: `level`, `scratch` (whether programs get a directory to write in), `readable`, `masked`, `path`,
            `packages`.

    Raises:
        OSError: A step is not possible here.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        self.level: int = setup["level"]
        self.layers: list[str] = []
        _be_killed_first()
        self._proc = _high(os.open("/proc", os.O_PATH | os.O_DIRECTORY)) if self.level == 1 else -1
        uid = namespaces.own_uid() if self.level != 2 else None
        if self.level == 1:
            self._enter_namespaces(setup, uid)
            uid = None
        library.make_ready(
            setup["path"], setup["packages"], everything=self.level == 4 or not _reaches(uid, setup["path"])
        )
        runner.warm_up()
        if uid is not None:
            namespaces.become(uid)
            self.layers.append("own user")
        namespaces.drop_capabilities()
        if self.level == 2:
            self.layers.append("namespaces")
        if self.level <= 2:
            # Elsewhere the parent is a thread of the host, which may end long before the host does.
            namespaces.die_with_parent(0 if self.level == 1 else os.getppid())
        os.chdir(namespaces.SCRATCH[1] if self.level <= 2 else "/")
        self._prepare_walls(setup)
        if not setup["scratch"]:
            # Children have it from their first moment on: none can reach another one's descriptors by `/proc`.
            namespaces.forbid_inspection()

    def _enter_namespaces(self, setup: dict[str, Any], uid: int | None) -> None:
        privileged = namespaces.enter_namespaces(setup["readable"], setup["masked"], self._proc)
        self.layers.append("namespaces")
        if privileged:
            namespaces.become(uid)
            self.layers.append("own user")
        try:
            namespaces.private_user(self._proc)
            self.layers.append("private user namespace")
        except OSError:
            if not privileged:
                raise
        if not setup["scratch"]:
            os.close(self._proc)

    def _prepare_walls(self, setup: dict[str, Any]) -> None:
        self._hard = {which: resource.getrlimit(which)[1] for which in _LIMITS}
        if self.level <= 3:
            readable = [*setup["readable"], "/dev/urandom", "/dev/random"]
            if self.level <= 2:
                readable += namespaces.SCRATCH  # empty
            self._readable = [path for path in readable if os.path.exists(path)]
            self._devices = [path for path in ("/dev/null", "/dev/zero") if os.path.exists(path)]
            if not setup["scratch"]:
                landlock.restrict(landlock.make_ruleset(self._readable, [], self._devices))  # children inherit it
            self.layers.append("Landlock")
        self._filter = seccomp.build_filter(os.uname().machine, opens=self.level <= 3, scratch=setup["scratch"])
        self.layers.append("seccomp")

    def enter(self, limits: dict[str, Any]) -> None:
        """Confine this process, a program's own: from here on nothing can be taken back."""
        if limits["scratch_bytes"]:
            self._mount_scratch(limits["scratch_bytes"])
        self._set_limits(limits)
        os.closerange(runner.FIRST_FREE, 1 << 16)
        self._filter.install(os.getpid())

    def _mount_scratch(self, size: int) -> None:
        inside = any(path.startswith(namespaces.SCRATCH[0] + "/") for path in self._readable)
        directory = namespaces.SCRATCH[1 if inside else 0]
        namespaces.mount_scratch(self._proc, directory, size)
        namespaces.drop_capabilities()
        landlock.restrict(landlock.make_ruleset(self._readable, [directory], self._devices))

    def _set_limits(self, limits: dict[str, Any]) -> None:
        shared = limits["shared_tasks"]
        values = (
            *(0, 0, limits["cpu_s"], limits["scratch_bytes"], limits["open_files"]),
            limits["threads"] + limits["beside"] if shared is None else shared,
            limits["memory_bytes"],
        )
        for which, value in zip(_LIMITS, values, strict=True):
            # Soft and hard alike: the first process of a pid namespace ignores SIGXCPU, and a soft limit can be raised.
            hard = self._hard[which]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))


_LIMITS = (
    *(resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE),
    *(resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS),
)


class Zygote:
    """Forks a child for each program and tells the host how it ended."""

    def __init__(self, host: _socket.socket, confinement: Confinement) -> None:
        self._host = host
        self._confinement = confinement
        self._pid = os.getpid()
        self._children: dict[int, tuple[int, int]] = {}  # pid: job, status descriptor

    def serve(self) -> None:
        """Take messages until the host is gone."""
        wake, woken = (_high(descriptor) for descriptor in os.pipe())
        for descriptor in (wake, woken):
            os.set_blocking(descriptor, False)
        _signal.set_wakeup_fd(woken)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._host.fileno(), select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake, 4096)
                    self._reap()
                else:
                    self._take_message()

    def _take_message(self) -> None:
        data, ancillary, _, _ = self._host.recvmsg(_MESSAGE_BYTES, _socket.CMSG_SPACE(4 * _PASSED))
        if not data:
            for pid in self._children:
                os.kill(pid, _signal.SIGKILL)
            os._exit(0)
        passed = [fd for _, _, body in ancillary for fd in struct.unpack(f"{len(body) // 4}i", body)]
        message = json.loads(data)
        if "kill" in message:
            for pid, (job, _) in self._children.items():
                if job == message["kill"]:  # not yet reaped, so the number is still this child's
                    os.kill(pid, _signal.SIGKILL)
            return
        self._start(message, passed)

    def _start(self, message: dict[str, Any], passed: list[int]) -> None:
        status = passed[0]
        limits = message["limits"]
        limits["beside"] = 1 + _NEIGHBOURS * limits["threads"]
        pid = _fork()
        if pid == 0:
            self._be_program(limits, passed)
        for descriptor in passed[1:]:
            os.close(descriptor)
        if pid < 0:
            os.write(status, f"failed fork: {os.strerror(ctypes.get_errno())}\n".encode())
            os.close(status)
            return
        self._children[pid] = (message["job"], status)

    def _be_program(self, limits: dict[str, Any], passed: list[int]) -> None:
        code = 1
        try:
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            _heed_signals()
            if self._pid != 1:
                namespaces.die_with_parent(self._pid)  # with the first process of its pid namespace it dies anyway
            _place(passed)
            job = runner.read_job()
            try:
                self._confinement.enter(limits)
            except Exception as error:
                os.write(runner.STATUS, f"failed {type(error).__name__}: {error}\n".encode())
                return
            os.write(runner.STATUS, b"ready\n")
            os.close(runner.STATUS)
            code = runner.run(job)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid not in self._children:
                continue  # an orphan that came to the first process of the namespace
            _, descriptor = self._children.pop(pid)
            seconds = usage.ru_utime + usage.ru_stime
            line = f"exit {os.waitstatus_to_exitcode(status)} {seconds:.3f} {usage.ru_maxrss}\n"
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any longer
                os.write(descriptor, line.encode())
            os.close(descriptor)


def _heed_signals() -> None:
    """Give programs the actions that Python starts with, whatever was ignored where the trainer was started.

    `nohup` and shells that put a command into the background have signals ignored in all that follows.
    """
    for number in (_signal.SIGHUP, _signal.SIGQUIT, _signal.SIGTERM):
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _place(passed: list[int]) -> None:
    """Move the descriptors that came with the message to `runner`'s places: status, job, then 0 and so on."""
    os.dup2(passed[0], runner.STATUS)
    os.dup2(passed[1], runner.JOB)
    for place, descriptor in enumerate(passed[2:]):
        os.dup2(descriptor, place)
    if len(passed) == 5:  # a script: it has no channel
        os.closerange(runner.REQUESTS, runner.REPLIES + 1)


def _high(descriptor: int) -> int:
    """Move a descriptor above the places that a program's own will take."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    os.close(descriptor)
    return high


def _reaches(uid: int | None, paths: list[str]) -> bool:
    """Whether this user could read Python's library, which may lie below a home that is closed to others."""
    if uid is None:
        return True
    os.setresuid(-1, uid, -1)
    try:
        return all(os.access(path, os.R_OK | os.X_OK, effective_ids=True) for path in paths)
    finally:
        os.setresuid(-1, 0, -1)


def _be_killed_first() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # inherited: when memory runs out, a program goes before the trainer
    except OSError:
        pass  # inside bubblewrap there is no /proc: it was set before
