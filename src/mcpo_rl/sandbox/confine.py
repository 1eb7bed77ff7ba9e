"""Inside the sandbox, before any untrusted code: namespaces, an own user, limits, and the supervisor that ends it all.

This file is sent into the sandbox's process (see `process.py`), so it imports only built-in modules that load at once.

The process that the host starts becomes the *supervisor*. It forks the program's process, waits, and reports how it
ended. It kills the program when the host closes its end of the request pipe; the kernel closes that end too when the
host dies, so no program outlives its host. Layers, each used where the kernel grants it and reported by name in the
`ready` line:

- `pid namespace`: the program sees and can signal only its own descendants, and all of them end with it. Ordinary users
  get it through a user namespace of its own, whose capabilities are dropped at once.
- `own user`: where the host runs as root, the program runs under a user id that nothing else has.
- `process limit`: RLIMIT_NPROC, which root is exempt from and which counts all of a user's processes where the user is
  shared.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` builds enums: longer than starting Python takes
import os
import resource
import select
import sys

TYPE_CHECKING = False  # importing `typing` would cost a third of the start-up time
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
_PR_SET_NO_NEW_PRIVS = 38
_FIRST_OWN_UID = 0x40000000
_NOBODY = 65534


def fork_confined(limits: dict[str, Any], status_fd: int, close_in_supervisor: list[int]) -> None:
    """Return in the program's process, confined; the calling process becomes its supervisor and never returns.

    Args:
        limits: `cpu_s`, `memory_bytes`, `processes`, `shared_processes` (or None), `counts_by_namespace`, `file_bytes`,
            `open_files`.
        status_fd: Where `ready <layers>` and later `exit <code>` go, a line each; `failed <why>` when a layer that must
            hold does not.
        close_in_supervisor: Descriptors that only the program's process keeps.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    _signal.set_wakeup_fd(wake_write)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    own_namespace = _new_pid_namespace()
    uid = _own_uid()
    if uid is not None:
        os.chown(".", uid, uid)
    program = os.fork()
    if program == 0:
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.close(wake_read)
        os.close(wake_write)
        try:
            layers = _confine(limits, uid, own_namespace)
            os.write(status_fd, f"ready {','.join(layers)}\n".encode())
        except Exception as error:
            os.write(status_fd, f"failed {type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os.close(status_fd)
        return
    for descriptor in close_in_supervisor:
        os.close(descriptor)
    _supervise(program, wake_read, status_fd)
    if uid is not None and uid >= _FIRST_OWN_UID and not own_namespace:
        _kill_all_of(uid)
    os._exit(0)


def _supervise(program: int, wake_read: int, status_fd: int) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    poll = select.poll()
    poll.register(wake_read, select.POLLIN)
    poll.register(0, 0)  # only POLLHUP: the requests themselves are the program's to read
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if 0 in ready:
            os.kill(program, _signal.SIGKILL)
            os.waitpid(program, 0)
            return
        os.read(wake_read, 64)
        ended, code = os.waitpid(program, os.WNOHANG)
        if ended:
            os.write(status_fd, f"exit {os.waitstatus_to_exitcode(code)}\n".encode())
            return


def _confine(limits: dict[str, Any], uid: int | None, own_namespace: bool) -> list[str]:
    layers = []
    if own_namespace:
        layers.append("pid namespace")
        # Elsewhere the program stays in the supervisor's process group, which the host kills as a whole.
        os.setsid()
    if uid is not None:
        _keep_python_readable()
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        layers.append("own user")
    _drop_privileges()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, limits["cpu_s"])
    _limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
    _limit(resource.RLIMIT_NOFILE, limits["open_files"])
    if sys.platform == "linux":  # macOS accepts RLIMIT_AS for some values and never enforces it
        _limit(resource.RLIMIT_AS, limits["memory_bytes"])
        layers.append("memory limit")
        alone = uid is not None or (own_namespace and limits["counts_by_namespace"] and os.geteuid() != 0)
        processes = limits["processes"] if alone else limits["shared_processes"]
        if processes is not None and (alone or os.geteuid() != 0):
            _limit(resource.RLIMIT_NPROC, processes)
            layers.append("process limit")
    return layers


def _limit(which: int, value: int) -> None:
    # Soft and hard alike: the first process of a pid namespace ignores SIGXCPU, and a soft limit can be raised again.
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _libc(name: str, *arguments: int | bytes) -> int:
    # `ctypes` itself takes 5 ms to import; its C half alone can call a function that takes plain integers and buffers.
    import _ctypes

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
    address = _ctypes.dlsym(library, name)
    result: int = _ctypes.call_function(address, arguments)
    return result


def _new_pid_namespace() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return _libc("unshare", CLONE_NEWPID) == 0 or _libc("unshare", CLONE_NEWUSER | CLONE_NEWPID) == 0
    except (ImportError, OSError):
        return False


def _drop_privileges() -> None:
    # A user namespace of its own comes with all capabilities over it; and no set-uid program may give any back.
    if sys.platform != "linux":
        return
    try:
        _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _libc("capset", (0x20080522).to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
    except (ImportError, OSError):
        pass


def _own_uid() -> int | None:
    """Return a user id that the program may run under, or None where this process may not choose one."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return None
    for uid in (_FIRST_OWN_UID + os.getpid(), _NOBODY):
        try:
            os.setresuid(-1, uid, -1)  # the effective id alone, to see whether it exists here
            os.setresuid(-1, 0, -1)
        except OSError:
            continue
        return uid
    return None


def _keep_python_readable() -> None:
    """Reach the standard library through open directories: Python often lives below a home closed to other users."""
    moved = {}
    for entry in sys.path:
        try:
            moved[entry] = f"/proc/self/fd/{os.open(entry, os.O_PATH | os.O_DIRECTORY)}"
        except OSError:
            continue
    sys.path[:] = list(moved.values())
    sys.path_importer_cache.clear()
    for module in list(sys.modules.values()):
        paths = getattr(module, "__path__", None)
        if paths:
            for entry, reachable in moved.items():
                paths = [reachable + path[len(entry) :] if path.startswith(entry) else path for path in paths]
            module.__path__ = paths


def _kill_all_of(uid: int) -> None:
    killer = os.fork()
    if killer == 0:
        os.setresuid(uid, uid, uid)
        os.kill(-1, _signal.SIGKILL)  # everything of this user, which is the program's alone; spares the caller itself
        os._exit(0)
    os.waitpid(killer, 0)
