"""The verification service: no item lost, whatever happens to those who judge; no process left behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mcpo_rl import domains
from mcpo_rl.errors import ProblemError, VerificationError
from mcpo_rl.rewards import VerificationService, shared_service, verify_batch
from mcpo_rl.rewards import service as service_module
from mcpo_rl.types import Status

from .conftest import descendants, is_running, until
from .strange_domains import Strange

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_thousand_items_keep_their_order(service: VerificationService, tmp_path: Path) -> None:
    items = [("strange", f"right {number}", str(tmp_path)) for number in range(1000)]
    verdicts = service.submit(items).result()
    assert [verdict.answer for verdict in verdicts] == [str(number) for number in range(1000)]
    judges = {int(verdict.detail) for verdict in verdicts}
    assert judges == set(service.worker_pids) and len(judges) == 2
    assert os.getpid() not in judges


def test_workers_are_started_as_needed_or_all_at_once(service: VerificationService) -> None:
    assert service.submit([("math", "#### 1", "1")]).result()[0].reward == 1
    assert len(service.worker_pids) == 1
    service.start()
    until(lambda: len(service.worker_pids) == 2)


def test_workers_killed_in_the_middle_of_a_batch(service: VerificationService, tmp_path: Path) -> None:
    items = [("strange", f"wait {number}", str(tmp_path)) for number in range(8)]
    items += [("strange", f"right {number}", str(tmp_path)) for number in range(100)]
    pending = service.submit(items)
    until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    victims = service.worker_pids
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len({path.name.rpartition("-")[2] for path in tmp_path.glob("begun-*")}) == 4)
    (tmp_path / "go").touch()
    verdicts = pending.result()
    assert [verdict.reward for verdict in verdicts] == [1.0] * 108
    assert [verdict.answer for verdict in verdicts] == [*map(str, range(8)), *map(str, range(100))]
    assert not set(victims) & set(service.worker_pids)


def test_an_item_that_kills_its_worker_is_tried_three_times(service: VerificationService, tmp_path: Path) -> None:
    items = [("strange", text, str(tmp_path)) for text in ("right 1", "die", "right 2", "right 3")]
    verdicts = service.submit(items).result()
    assert [verdict.reward for verdict in verdicts] == [1.0, None, 1.0, 1.0]
    assert verdicts[1].detail == "the verifier's process died 3 times on it, at last killed by signal 9"
    assert (tmp_path / "deaths").read_text() == "xxx"


def test_an_item_whose_worker_died_once_is_judged(service: VerificationService, tmp_path: Path) -> None:
    assert service.submit([("strange", "die_once", str(tmp_path))]).result()[0].reward == 1.0


def test_a_verifier_that_hangs_is_ended_and_the_others_go_on(service: VerificationService) -> None:
    items = [("strange", text, "short") for text in ("hang", *(f"right {number}" for number in range(50)))]
    verdicts = service.submit(items).result()
    assert verdicts[0].status is Status.ERROR
    assert verdicts[0].detail == "the verifier did not answer within 1 s"
    assert [verdict.reward for verdict in verdicts[1:]] == [1.0] * 50
    assert service.submit([("strange", "right 1", "short")]).result()[0].reward == 1.0


def test_what_waits_behind_a_hanging_item_is_judged_by_others(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VerificationService(workers=2) as service:
        quick = [("strange", f"right {number}", str(tmp_path)) for number in range(40)]
        pending = service.submit([("strange", "wait 1", str(tmp_path)), *quick])
        until(lambda: sum(task.verdict is not None for task in pending.tasks) == 40)
        assert pending.tasks[0].verdict is None
        (tmp_path / "go").touch()
        assert [verdict.reward for verdict in pending.result()] == [1.0] * 41


@LINUX
def test_a_hanging_verifier_is_ended_with_what_it_started(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpo_rl.rewards.items.get_domain", lambda name: Impatient())
    with VerificationService(workers=1) as service:
        pending = service.submit([("strange", "child", str(tmp_path))], max_error_rate=1.0)
        assert pending.result()[0].detail == "the verifier did not answer within 3 s"
        child = int((tmp_path / "child").read_text())
        until(lambda: not is_running(child))  # killed, but a loaded machine takes a moment to let it go


class Impatient(Strange):
    def longest_s(self, reference: object) -> float:
        return 3.0


def test_a_verifier_that_raises_is_an_error_and_logged_once(
    service: VerificationService, caplog: pytest.LogCaptureFixture
) -> None:
    items = [("strange", "raises x", number) for number in range(5)] + [
        ("strange", "leaves", 0),
        ("strange", "nothing", 0),
    ]
    verdicts = service.submit(items, max_error_rate=1.0).result()
    assert {verdict.status for verdict in verdicts} == {Status.ERROR}
    assert verdicts[0].detail == "the verifier raised ValueError: a bug in x"
    assert verdicts[5].detail == "the verifier raised SystemExit: 3"
    assert "AttributeError" in verdicts[6].detail
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 3
    assert "logged once" in logged[0] and "strange_domains.py" in logged[0] and "ValueError: a bug in x" in logged[0]
    with pytest.raises(VerificationError, match=r"2 of 2 .* strange: the verifier raised ValueError: a bug in x"):
        service.submit([("strange", "raises x", number) for number in (8, 9)]).result()


def test_what_a_verifier_prints_or_reads_is_not_the_protocol(service: VerificationService) -> None:
    verdicts = service.submit([("strange", "prints", 0), ("strange", "right 1", 0)]).result()
    assert [verdict.reward for verdict in verdicts] == [0.0, 1.0]


def test_a_domain_of_this_process_is_judged_here(
    service: VerificationService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(domains.DOMAINS, "by hand", Strange())
    items = [("by hand", text, "short") for text in ("right 1", "hang", "wrong 1", "raises x")]
    verdicts = service.submit(items).result()
    assert [verdict.reward for verdict in verdicts] == [1.0, None, 0.0, None]
    assert verdicts[0].detail == str(os.getpid())
    assert verdicts[1].detail == "the verifier did not answer within 1 s"
    assert verdicts[3].detail == "the verifier raised ValueError: a bug in x" and "strange_domains.py" in caplog.text
    assert service.worker_pids == []


def test_a_reference_that_is_no_json_data_is_judged_here(service: VerificationService) -> None:
    verdict = service.submit([("strange", "right 1", {1, 2})]).result()[0]
    assert verdict.detail == str(os.getpid())


def test_a_cap_on_how_many_are_judged_at_a_time(service: VerificationService, tmp_path: Path) -> None:
    pending = service.submit([("strange", f"wait {number}", str(tmp_path)) for number in range(3)], workers=1)
    until(lambda: list(tmp_path.glob("begun-*")))
    free = service.submit([("strange", "right 1", str(tmp_path))])
    assert free.result()[0].reward == 1.0  # and by then a second one would have begun
    assert len(list(tmp_path.glob("begun-*"))) == 1
    (tmp_path / "go").touch()
    assert [verdict.reward for verdict in pending.result()] == [1.0] * 3


def test_a_batch_that_is_given_up_frees_the_workers(service: VerificationService, tmp_path: Path) -> None:
    pending = service.submit([("strange", f"right {number}", 0) for number in range(20000)])
    pending.cancel()
    assert service.submit([("strange", "right x", 0)]).result()[0].answer == "x"
    with pytest.raises(VerificationError, match="cancelled"):
        pending.result()


def test_a_closed_service(installed: Path, tmp_path: Path) -> None:
    service = VerificationService(workers=1)
    pending = service.submit([("strange", "wait 1", str(tmp_path))])
    until(lambda: list(tmp_path.glob("begun-*")))
    (pid,) = service.worker_pids
    service.close()
    service.close()
    with pytest.raises(VerificationError, match="the verification service was closed"):
        pending.result()
    with pytest.raises(VerificationError, match="is closed"):
        service.submit([])
    assert service.worker_pids == []
    if sys.platform == "linux":
        assert not is_running(pid)


def test_workers_that_cannot_start_are_an_error_that_says_why(
    installed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mcpo_rl.rewards.processes.sys.executable", "/no/such/python")
    with VerificationService(workers=2) as service:
        with pytest.raises(VerificationError, match=r"the verification worker cannot be started.*/no/such/python"):
            service.submit([("math", "#### 1", "1")]).result()
        monkeypatch.undo()
        assert service.submit([("math", "#### 1", "1")]).result()[0].reward == 1.0


def test_workers_that_end_at_once_are_an_error_that_says_why(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit(7)")
    monkeypatch.setattr("mcpo_rl.rewards.processes._SCRIPT", broken)
    with (
        VerificationService(workers=2) as service,
        pytest.raises(VerificationError, match="cannot be started: exit status 7"),
    ):
        service.submit([("math", "#### 1", "1")]).result()


def test_a_bug_of_the_service_reaches_whoever_waits(
    service: VerificationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(service, "_listen", broken)
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        service.submit([("math", "#### 1", "1")]).result()


def test_numbers_of_workers_that_cannot_be() -> None:
    with pytest.raises(ProblemError, match="`workers` must be at least 1, not 0"):
        VerificationService(workers=0)
    with pytest.raises(ProblemError, match="`workers` must be at least 1, not 0"):
        verify_batch([("math", "#### 1", "1")], workers=0)


def test_the_report(service: VerificationService, tmp_path: Path) -> None:
    texts = ["right 1", "wrong 1", "right 1", "raises x", "right 2"]
    pending = service.submit([("math", "#### 1", "1")] + [("strange", text, 0) for text in texts])
    pending.result()
    report = pending.report()
    strange = report.domains["strange"]
    assert (strange.correct, strange.incorrect, strange.error, strange.error_rate) == (3, 1, 1, 0.2)
    assert report.domains["math"].correct == 1
    assert report.slowest is not None and report.seconds >= report.slowest.seconds
    row = report.slowest.row
    assert pending.seconds_of(row) == max(pending.seconds_of(place) for place in range(6)) == report.slowest.seconds
    assert report.slowest.beginning == pending.items[row][1]
    assert strange.seconds_max >= strange.seconds_mean > 0
    empty = service.submit([])
    assert empty.result() == [] and empty.report().slowest is None


def test_the_sandbox_of_the_workers_is_that_of_this_process(
    service: VerificationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcpo_rl import sandbox

    program = ("code", "```python\ndef f(x): return x\n```", {"asserts": ["assert f(1) == 1"]})
    assert service.submit([program]).result()[0].reward == 1.0
    before = sandbox.current_config()
    try:
        # Nobody listens there: the verdict shows that the worker has changed over.
        sandbox.configure(sandbox.SandboxConfig(python="/no/such/python"))
        assert service.submit([program], max_error_rate=1.0).result()[0].status is Status.ERROR
    finally:
        sandbox.configure(before)
    assert service.submit([program]).result()[0].reward == 1.0


HOST = r"""
import os, sys, time
from mcpo_rl.rewards import VerificationService
service = VerificationService(4)
items = [("strange", word, sys.argv[1]) for word in ("regex", "child")]
items.append(("code", "```python\nwhile True: pass\n```", {"asserts": ["assert f()"], "time_limit_s": 300}))
items.append(("math", r"\boxed{\sqrt{x+1}}", r"\sqrt{x+2}"))
pending = service.submit(items, max_error_rate=1.0)
traces = [os.path.join(sys.argv[1], name) for name in ("started", "child")]
while not (pending.tasks[3].verdict and all(map(os.path.exists, traces))):
    time.sleep(0.01)
print(*service.worker_pids, flush=True)
time.sleep(300)
"""


@LINUX
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_host(installed: Path, tmp_path: Path, end: signal.Signals) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # A shell that started the tests in the background has it ignored in all that follows.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    assert host.stdout is not None
    workers = [int(word) for word in host.stdout.readline().split()]
    assert len(workers) == 4 and all(map(is_running, workers))
    until(lambda: len(descendants(host.pid)) >= len(workers) + 3)  # of the verifiers for code, math and `strange`
    pids = descendants(host.pid)
    assert int((tmp_path / "child").read_text()) in pids
    host.send_signal(end)
    host.wait()
    host.stdout.close()
    until(lambda: not any(map(is_running, pids)))


@LINUX
def test_a_fork_leaves_the_workers_of_its_parent_alone(service: VerificationService) -> None:
    items = [("strange", f"right {number}", 0) for number in range(10)]
    judges = {verdict.detail for verdict in service.submit(items).result()}
    assert verify_batch([("math", "#### 1", "1")])[0].reward == 1.0
    begun = service.submit([("strange", "hang", 0)])
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # as a data loader's worker
        try:
            own = {verdict.detail for verdict in service.submit(items).result()}
            shared = verify_batch([("math", "#### 2", "1")])[0].reward
            try:
                begun.result()
                refused = ""
            except VerificationError as error:
                refused = str(error)
            service_module._close_all()
            os.write(write_end, json.dumps([sorted(own), shared, refused]).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as pipe:
        own, shared, refused = json.loads(pipe.read())
    assert not set(own) & judges
    assert shared == 0.0
    assert "in the process that asked for them" in refused
    # The child is gone, and the parent's workers are as they were.
    assert {verdict.detail for verdict in service.submit(items).result()} <= judges
    assert shared_service().submit([("math", "#### 1", "1")]).result()[0].reward == 1.0


@LINUX
def test_a_fork_does_not_keep_the_workers_alive(service: VerificationService) -> None:
    service.start()
    until(lambda: len(service.worker_pids) == 2)
    assert service.submit([("strange", "right 1", 0)]).result()[0].reward == 1.0
    pids, descriptors = service.worker_pids, [worker.write_end for worker in service._workers]
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        still_open = []
        for descriptor in descriptors:
            try:
                still_open.append(os.fstat(descriptor).st_ino)
            except OSError:
                continue
        os.read(read_end, 1)
        os._exit(len(still_open))
    service.close()
    assert not any(map(is_running, pids))
    os.close(write_end)
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
