"""The host's side of the embedded sandbox: levels, lending of zygotes, and what happens when one of them is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mcpo_rl.errors import ConfigError, SandboxError, SandboxInterruptedError
from mcpo_rl.sandbox import Level, Limits, Outcome, SandboxConfig, configure, current, current_config, get_sandbox
from mcpo_rl.sandbox.embedded import EmbeddedSandbox, launch
from mcpo_rl.sandbox.embedded import sandbox as embedded
from mcpo_rl.sandbox.embedded.program import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded sandbox runs on Linux")


@pytest.fixture
def sandbox() -> Iterator[EmbeddedSandbox]:
    sandbox = EmbeddedSandbox()
    yield sandbox
    sandbox.close()


def without(monkeypatch: pytest.MonkeyPatch, *levels: Level) -> list[Level]:
    """Pretend that these levels do not work here; return the list of levels that are tried from now on."""
    tried: list[Level] = []
    start = embedded.start_zygote

    def start_zygote(config: SandboxConfig, level: Level, *, scratch: bool = False) -> launch.Zygote:
        tried.append(level)
        if level in levels:
            raise SandboxError(f"no step {int(level)}")
        return start(config, level, scratch=scratch)

    monkeypatch.setattr(embedded, "start_zygote", start_zygote)
    return tried


def test_the_strongest_level_that_works_is_taken_and_a_weaker_one_is_announced(
    sandbox: EmbeddedSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = without(monkeypatch, Level.NAMESPACES, Level.BUBBLEWRAP, Level.LANDLOCK)
    assert sandbox.level is Level.PRELOADED
    assert tried == [*Level]
    assert "level 4 of 4" in caplog.text
    assert "no step 1" in caplog.text


def test_a_weaker_level_than_demanded_is_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, Level.NAMESPACES, Level.BUBBLEWRAP)
    with pytest.raises(SandboxError, match=r"no sandbox of level 2 or stronger .*no step 1.*no step 2.*--remote"):
        EmbeddedSandbox(SandboxConfig(min_level=2)).run_script("print(1)")


def test_a_level_is_never_lowered_later(sandbox: EmbeddedSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    level = sandbox.level
    sandbox.close()
    without(monkeypatch, level)
    with pytest.raises(SandboxError, match=f"no step {int(level)}"):
        sandbox.run_script("print(1)")


def test_a_level_that_does_not_hold_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_SELF_TEST", embedded._SELF_TEST.replace("/etc/passwd", "/dev/null"))
    with pytest.raises(SandboxError, match="a test program was not held"):
        EmbeddedSandbox(SandboxConfig(level=1)).run_script("print(1)")


@pytest.mark.parametrize("options", [{"min_level": 5}, {"level": 0}, {"level": 3, "min_level": 2}, {"remote": "host"}])
def test_a_configuration_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="sandbox"):
        SandboxConfig(**options)  # type: ignore[arg-type]


def test_an_interpreter_that_is_none() -> None:
    with pytest.raises(SandboxError, match="/no/such/python"):
        EmbeddedSandbox(SandboxConfig(python="/no/such/python")).run_script("print(1)")


def test_the_sandbox_of_the_process() -> None:
    before = current_config()
    try:
        configure(SandboxConfig(packages=()))
        assert get_sandbox() is get_sandbox()
        assert get_sandbox().run_script("import numpy").detail == "ModuleNotFoundError: No module named 'numpy'"
        assert get_sandbox().describe()["backend"] == "embedded"
    finally:
        configure(before)


def test_another_platform_is_pointed_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_sandbox", None)
    monkeypatch.setattr(current.sys, "platform", "darwin")
    with pytest.raises(SandboxError, match=r"on Linux only, not on darwin.*--remote"):
        get_sandbox()
    assert current.describe()["available"] is False


def test_a_zygote_per_core_and_no_more(sandbox: EmbeddedSandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        printed = list(pool.map(lambda n: sandbox.run_script(f"print({n})").stdout, range(40)))
    assert printed == [f"{n}\n" for n in range(40)]
    assert 1 <= len(sandbox.zygote_pids()) <= (os.cpu_count() or 1)


def test_a_program_whose_zygote_is_killed_is_run_again(
    sandbox: EmbeddedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()
    ready = Program.wait_ready

    def wait_ready(program: Program) -> None:
        ready(program)
        started.set()

    sandbox.run_script("")
    monkeypatch.setattr(Program, "wait_ready", wait_ready)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(sandbox.run_script, "import time\ntime.sleep(0.3)\nprint('done')")
        assert started.wait(30)
        for pid in sandbox.zygote_pids():
            os.kill(pid, signal.SIGKILL)
        assert running.result().stdout == "done\n"


def test_a_session_whose_zygote_is_killed_says_so(sandbox: EmbeddedSandbox) -> None:
    with sandbox.session("def f(): return 1") as session:
        assert session.call("f").value == 1
        for pid in sandbox.zygote_pids():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(SandboxInterruptedError):
            for _ in range(100_000):  # the kill takes a moment
                session.call("f")
    assert sandbox.run_script("print(2)").stdout == "2\n"


def test_a_late_kill_does_not_hit_the_next_program(sandbox: EmbeddedSandbox) -> None:
    with sandbox._zygote(Limits()) as zygote:
        first = Program(zygote, {"mode": "script", "program": ""}, Limits(), life_s=5, stdin="")
        first.wait_ready()
        first.wait_end(time.monotonic() + 30)
        job = {"mode": "script", "program": "print(input())"}
        with Program(zygote, job, Limits(), life_s=5, stdin="alive\n") as second:
            second.wait_ready()
            zygote.kill(first._job)
            second.wait_end(time.monotonic() + 30)
            assert (second.exit_code, second.stdout) == (0, b"alive\n")
        first.close()


def test_a_forked_child_has_zygotes_of_its_own(sandbox: EmbeddedSandbox) -> None:
    sandbox.run_script("")
    parents = sandbox.zygote_pids()
    child = os.fork()
    if child == 0:
        try:
            mine = sandbox.run_script("print(1)").stdout == "1\n" and not set(sandbox.zygote_pids()) & set(parents)
            sandbox.close()
            os._exit(0 if mine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sandbox.zygote_pids() == parents
    assert sandbox.run_script("print(1)").stdout == "1\n"


def test_scratch_is_of_one_program_and_of_the_size_asked_for(sandbox: EmbeddedSandbox) -> None:
    if sandbox.level is not Level.NAMESPACES:
        with pytest.raises(SandboxError, match="needs a sandbox of level 1"):
            sandbox.run_script("", limits=Limits(scratch_bytes=1 << 20))
        return
    write = "import os\nopen('x', 'wb').write(bytes({size}))\nprint(os.listdir('.'))"
    limits = Limits(scratch_bytes=1 << 20)
    assert sandbox.run_script(write.format(size=1 << 19), limits=limits).stdout == "['x']\n"
    assert sandbox.run_script("import os\nprint(os.listdir('.'))", limits=limits).stdout == "[]\n"
    assert sandbox.run_script(write.format(size=1 << 21), limits=limits).outcome is Outcome.RAISED
    many = "for n in range(1 << 20): open(f'{n}', 'w').write('x')"
    assert "No space left" in sandbox.run_script(many, limits=limits).detail


def test_signals_that_were_ignored_where_the_trainer_was_started_reach_programs() -> None:
    program = (
        "import signal\n"
        "print(signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('int')"
    )
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    sandbox = EmbeddedSandbox()
    try:
        assert sandbox.run_script(program).stdout == "True\nint\n"
    finally:
        sandbox.close()
        for number, action in before.items():
            signal.signal(number, action)


def test_the_same_program_has_the_same_luck(sandbox: EmbeddedSandbox) -> None:
    program = "import random\nprint(random.random(), hash('a'), {'a', 'b', 'c'})"
    assert len({sandbox.run_script(program).stdout for _ in range(3)}) == 1
