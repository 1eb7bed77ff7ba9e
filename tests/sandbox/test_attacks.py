"""Programs that mean harm: nothing survives them, nothing waits for them, nothing of the host is hurt by them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from mcpo_rl.sandbox import Limits, Outcome, ProgramSession, describe, run_checks, run_script

LINUX = sys.platform == "linux"
BRIEF = Limits(wall_s=0.6)


def name_itself(mark: str) -> str:
    """The line with which a program gives itself and its descendants a name that the host can look for."""
    return f"import ctypes; ctypes.CDLL(None).prctl(15, b'{mark}', 0, 0, 0)\n"


def alive(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = entry.read_text().partition("(")[2].partition(") ")
        except OSError:  # it has ended meanwhile
            continue
        if name == mark and rest[0] not in "ZX":  # a zombie is dead; init may take its time to bury an orphan
            found.append(str(entry))
    return found


def survivors(mark: str) -> list[str]:
    """What is alive and stays so: a kill takes effect when the killed process is next scheduled."""
    for _ in range(200):
        if not alive(mark):
            break
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    return alive(mark)


@pytest.fixture
def mark() -> str:
    return f"m{uuid.uuid4().hex[:12]}"


def test_an_endless_loop(layers: str) -> None:
    assert run_script("while True: pass", limits=BRIEF).outcome is Outcome.TIMED_OUT
    with ProgramSession("def f():\n    while True: pass", BRIEF) as session:
        assert session.call("f").outcome is Outcome.TIMED_OUT


def test_an_endless_sleep_at_import_and_one_that_catches_everything() -> None:
    program = """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True:
    try:
        while True: pass
    except BaseException: pass
"""
    with ProgramSession(program, BRIEF) as session:
        assert session.call("f").outcome is Outcome.TIMED_OUT


@pytest.mark.skipif(not LINUX, reason="macOS does not enforce RLIMIT_AS")
def test_a_memory_hog(layers: str) -> None:
    limits = Limits(memory_bytes=200 << 20, wall_s=60)
    result = run_script("hog = []\nwhile True: hog.append(bytearray(1 << 24))", limits=limits)
    assert (result.outcome, result.detail) == (Outcome.RAISED, "MemoryError")
    assert run_script("print(len(bytearray(100 << 20)))", limits=limits).stdout == f"{100 << 20}\n"


@pytest.mark.skipif("process limit" not in describe()["layers"], reason="this machine grants no process limit")
def test_a_fork_bomb(mark: str) -> None:
    program = name_itself(mark) + "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
    assert run_script(program, limits=BRIEF).outcome is Outcome.TIMED_OUT
    assert survivors(mark) == []
    count = "import os, time\nfor n in range(200):\n    try:\n        if os.fork() == 0: time.sleep(60)\n"
    count += "    except OSError: break\nprint(n)"
    assert int(run_script(count, limits=Limits(processes=20)).stdout) < 20


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
def test_descendants_end_with_the_program(layers: str, mark: str) -> None:
    escape = "os.setsid()" if layers != "host's user alone" else "pass"  # there, a new session is known to escape
    program = (
        name_itself(mark)
        + f"import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        {escape}\n        time.sleep(600)\n"
    )
    assert run_script(program + "print('done')", limits=Limits(wall_s=5)).stdout == "done\n"
    assert run_script(program + "time.sleep(600)", limits=BRIEF).outcome is Outcome.TIMED_OUT
    with ProgramSession(program + "def f(): return 1") as session:
        assert session.call("f").value == 1
    assert survivors(mark) == []


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_of_output(stream: int) -> None:
    program = f"import os\nwhile True: os.write({stream}, b'x' * 65536)"
    result = run_script(program, limits=Limits(wall_s=30, output_bytes=1 << 20))
    assert result.outcome is Outcome.TOO_MUCH_OUTPUT
    assert len(result.stdout) < (1 << 20) + (1 << 17)


def test_an_answer_that_is_too_long_too_deep_or_contains_itself() -> None:
    program = (
        "def long(): return 'x' * (1 << 21)\ndef deep():\n    x = []\n    for _ in range(5000): x = [x]\n    return x\n"
    )
    program += "def itself():\n    x = []\n    x.append(x)\n    return x\n"
    for function, outcome in (
        ("long", Outcome.TOO_MUCH_OUTPUT),
        ("deep", Outcome.MALFORMED),
        ("itself", Outcome.MALFORMED),
    ):
        with ProgramSession(program, Limits(output_bytes=1 << 20)) as session:
            assert session.call(function).outcome is outcome


def test_files_are_limited_in_size_and_number(scratch: Path) -> None:
    big = run_script(
        "f = open('big', 'wb')\nwhile True: f.write(b'x' * (1 << 20)); f.flush()", limits=Limits(file_bytes=1 << 20)
    )
    assert big.detail.startswith("OSError: [Errno 27]")
    many = run_script("fs = []\nwhile True: fs.append(open(str(len(fs)), 'w'))")
    assert many.detail.startswith("OSError: [Errno 24]")
    assert list(scratch.iterdir()) == []


def test_directories_too_deep_to_remove_by_recursion(scratch: Path) -> None:
    assert (
        run_script("import os\nfor _ in range(1050):\n    os.mkdir('d'); os.chdir('d')\nprint('ok')").stdout == "ok\n"
    )
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "end",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "import os; os.abort()",
        "quit()",
    ],
)
def test_leaving_is_no_answer(end: str) -> None:
    with ProgramSession(f"def f():\n    {end}") as session:
        assert session.call("f").outcome in (Outcome.EXITED, Outcome.RAISED)
    with ProgramSession(f"{end}\ndef f(): return 1") as session:
        assert session.call("f").outcome in (Outcome.EXITED, Outcome.RAISED)


@pytest.mark.parametrize(
    "forged",
    [
        "b'0' * 32 + b'%010d\\n' % 11 + b'{\"value\":5}'",  # the nonce of nobody
        "b'x' * 100",
        "nonce + b'%010d\\n' % 9999999999",
        "nonce + b'%010d\\n' % 4 + b'nope'",
        "nonce + b'%010d\\n' % 2 + b'[]'",
        "nonce + b'%010d\\n' % 2000 + b'[' * 2000",
        "nonce + b'%010d\\n' % 2 + b'{}'",
        'nonce + b\'%010d\\n\' % 21 + b\'{"value":{"ref":"x"}}\'',
    ],
)
def test_forged_replies_are_no_answer(forged: str) -> None:
    program = f"""
import gc, os
def f():
    nonce = next(d['nonce'] for d in gc.get_objects() if type(d) is dict and 'by_reference' in d).encode()
    for fd in range(3, 64):
        try: os.write(fd, {forged})
        except OSError: pass
    os._exit(0)
"""
    with ProgramSession(program) as session:
        assert session.call("f").outcome in (Outcome.MALFORMED, Outcome.TOO_MUCH_OUTPUT, Outcome.EXITED)
        assert session.call("f").outcome is not Outcome.COMPLETED


def test_every_descriptor_closed_or_replaced() -> None:
    for action in ("os.closerange(0, 256)", "[os.dup2(os.open('/dev/null', 2), fd) for fd in range(64)]"):
        with ProgramSession(f"import os\ndef f():\n    {action}\n    return 5", BRIEF) as session:
            assert session.call("f").outcome in (Outcome.EXITED, Outcome.TIMED_OUT)


def test_the_program_holds_nothing_of_the_host(layers: str) -> None:
    program = "import os, sys\ndef f(): return [dict(os.environ), sys.argv, [m for m in sys.modules if 'domains' in m]]"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "expected")
        with ProgramSession(program) as session:
            assert session.call("f").value == [{}, ["program.py"], []]


def test_inputs_come_one_at_a_time() -> None:
    program = "import gc\ndef f(x): return len([o for o in gc.get_objects() if type(o) is list and 'needle' in o])"
    with ProgramSession(program) as session:
        assert session.call("f", ["hay"]).value == 0
        assert session.call("f", [["needle"]]).value >= 1


def test_killing_parent_and_group(layers: str) -> None:
    # In a host of its own: where the sandbox is the host's user alone, the supervisor is all that stands between them.
    attack = "import os\nfor pid in (os.getppid(), 0):\n    try: os.kill(pid, 9)\n    except OSError: pass\nprint(1)"
    host = f"from mcpo_rl.sandbox import *\nprint(run_script({attack!r}).outcome.name, run_script('print(2)').stdout)"
    if layers == "all layers":
        done = subprocess.run([sys.executable, "-c", host], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.split()[1]) == (0, "2"), done.stderr
    result = run_script(attack)
    assert result.outcome in (Outcome.COMPLETED, Outcome.EXITED)


@pytest.mark.skipif(
    "pid namespace" not in describe()["layers"], reason="without a pid namespace this would kill the tests"
)
def test_killing_everything() -> None:
    program = "import os\ntry: os.kill(-1, 9)\nexcept OSError as error: print(error)\nprint(os.getpid())"
    assert run_script(program).stdout.endswith("1\n")


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
def test_no_program_outlives_a_killed_host(mark: str, tmp_path: Path) -> None:
    program = name_itself(mark) + "import time\nopen('up', 'w').close()\ntime.sleep(600)"
    host = f"""
import os, threading, time
from pathlib import Path
from mcpo_rl.sandbox import *
threading.Thread(target=run_script, args=({program!r}, "", Limits(wall_s=600)), daemon=True).start()
while not list(Path({str(tmp_path)!r}).glob("*/up")):
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed host cannot remove what it has made
    assert subprocess.run([sys.executable, "-c", host], env=environment, timeout=60, check=False).returncode == -9
    assert survivors(mark) == []


EQUAL = "class Same:\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\n"


def test_objects_that_equal_everything_never_arrive() -> None:
    with ProgramSession(EQUAL + "def f(): return Same()") as session:
        assert session.call("f").outcome is Outcome.MALFORMED
    lies = EQUAL + "class Five(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
    lies += "def f(): return Same()\ndef g(): return Five(5)\n"
    with ProgramSession(lies) as session:
        five = session.call("g").value
        assert (type(five), five == 5, five == 6) == (int, True, False)
    assert run_checks(lies, "assert f() == 1").outcome is Outcome.RAISED
    assert run_checks(lies, "assert g() == 6").outcome is Outcome.RAISED
    assert run_checks(lies, "assert g() == 5").outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    "attack",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "import builtins\nbuiltins.AssertionError = Warning\ndef f(x): return 0",
        "def f(x): raise SystemExit(0)",
        "def f(x):\n    import os\n    os._exit(0)",
        "def check(candidate): pass\ndef f(x): return 0",
        "import sys\nsys.modules['checks'] = sys\ndef f(x): return 0",
        "print('{\"value\":null}')\ndef f(x): return 0",
        "class f:\n    def __init__(self, x): pass\n    def __eq__(self, other): return True",
    ],
)
def test_checks_cannot_be_passed_by_tricks(attack: str) -> None:
    assert (
        run_checks(attack, "def check(candidate):\n    assert candidate(1) == 2", "f", BRIEF).outcome
        is not Outcome.COMPLETED
    )
    assert run_checks(attack, "assert f(1) == 2", None, BRIEF).outcome is not Outcome.COMPLETED
