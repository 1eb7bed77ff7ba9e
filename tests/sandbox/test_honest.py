"""Honest programs run as they would outside, with whatever layers the machine grants."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcpo_rl.errors import SandboxError
from mcpo_rl.sandbox import Limits, Outcome, ProgramSession, describe, run_checks, run_script

IMPORTS = (
    "import asyncio, bisect, collections.abc, ctypes, dataclasses, decimal, email.mime.text, encodings.idna, "
    "fractions, heapq, importlib.util, itertools, json, multiprocessing, random, re, "
    "sqlite3, statistics, threading, typing, zoneinfo\n"
)


def test_a_script_reads_stdin_and_prints(layers: str) -> None:
    result = run_script("import sys\nprint(sum(map(int, sys.stdin.read().split())))", "1 2\n3\n")
    assert (result.outcome, result.stdout, result.detail) == (Outcome.COMPLETED, "6\n", "")


def test_calls_in_one_process(layers: str) -> None:
    with ProgramSession("seen = []\ndef f(x, *, by=1):\n    seen.append(x)\n    return x * by, len(seen)") as session:
        assert session.call("f", [3]).value == (3, 1)
        assert session.call("f", ["ab"], {"by": 2}).value == ("abab", 2)


def test_the_standard_library_loads_with_every_layer(layers: str) -> None:
    result = run_script(IMPORTS + "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()")
    assert (result.outcome, result.stdout) == (Outcome.COMPLETED, "thread\n"), result.detail


def test_a_megabyte_in_and_out() -> None:
    text = "0123456789" * 100_000
    assert run_script("print(input())", text + "\n").stdout == text + "\n"
    with ProgramSession("def f(x): return x + x[:1]") as session:
        assert session.call("f", [list(range(50_000))]).value == [*range(50_000), 0]


@pytest.mark.parametrize(
    ("program", "outcome", "detail"),
    [
        ("1 / 0", Outcome.RAISED, "ZeroDivisionError"),
        ("def f(:", Outcome.RAISED, "SyntaxError"),
        ("import sys; sys.exit('no way')", Outcome.RAISED, "no way"),
        ("import sys; sys.exit(3)", Outcome.EXITED, "code 3"),
        ("import os; os.abort()", Outcome.EXITED, "SIG"),
        ("import sys; sys.exit()", Outcome.COMPLETED, ""),
        ("def deep(n): return deep(n + 1)\ndeep(0)", Outcome.RAISED, "RecursionError"),
    ],
)
def test_how_scripts_end(program: str, outcome: Outcome, detail: str) -> None:
    result = run_script(program)
    assert result.outcome is outcome
    assert detail in result.detail


def test_exit_handlers_and_threads_finish_and_output_is_flushed() -> None:
    program = (
        "import atexit, threading, time\natexit.register(print, 'exit')\n"
        "def late():\n    time.sleep(0.05); print('thread')\n"
        "threading.Thread(target=late).start()\nprint('main', end=' ')"
    )
    assert run_script(program).stdout == "main thread\nexit\n"


def test_classes_generators_recursion_and_the_main_block() -> None:
    program = """
from dataclasses import dataclass
from functools import lru_cache
@dataclass(frozen=True)
class Point:
    x: int
class Solution:
    def solve(self, n): return sorted({Point(i).x for i in range(n)})
def count(n):
    yield from range(n)
@lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def total(n): return sum(count(n))
def main_ran(): return __name__ == "__main__"
if __name__ == "__main__":
    input()
"""
    with ProgramSession(program) as session:
        assert session.call("Solution().solve", [3]).value == [0, 1, 2]
        assert session.call("total", [4]).value == 6
        assert session.call("fib", [90]).value == 2880067194370816120
        assert session.call("main_ran").value is False


def test_an_exception_ends_the_call_and_not_the_session() -> None:
    with ProgramSession("def f(x): return 1 / x") as session:
        failed = session.call("f", [0])
        assert (failed.outcome, failed.detail) == (Outcome.RAISED, "ZeroDivisionError: division by zero")
        assert session.call("f", [2]).value == 0.5
        assert session.call("g").detail == "NameError: name 'g' is not defined"


def test_every_program_has_a_fresh_directory_that_is_removed(layers: str, scratch: Path) -> None:
    program = "import os\nprint(os.listdir('.'), dict(os.environ))\n"
    program += "os.makedirs('a/b'); open('a/b/c', 'w').write('x'); os.chmod('a', 0)"
    for _ in range(2):
        assert run_script(program).stdout == "[] {}\n"
    assert list(scratch.iterdir()) == []


def test_many_threads_at_once() -> None:
    def double(number: int) -> str:
        return run_script(f"print(2 * {number})").stdout

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(double, range(18))) == [f"{2 * number}\n" for number in range(18)]
    assert threading.active_count() < 20


def test_a_missing_python_is_the_sandbox_failure() -> None:
    with pytest.raises(SandboxError, match="cannot start '/nowhere/python'"):
        run_script("print(1)", python="/nowhere/python")


def test_an_executable_that_is_no_python_is_the_sandbox_failure() -> None:
    with pytest.raises(SandboxError, match="did not start"):
        run_script("print(1)", python="/bin/false")


def test_describe_says_what_holds_and_what_does_not() -> None:
    facts = describe()
    assert facts["available"] is True
    assert set(facts["layers"]) | set(facts["missing"]) == {
        "pid namespace",
        "own user",
        "memory limit",
        "process limit",
    }
    assert "network" in facts["not_isolated"]
    if sys.platform == "linux":
        assert "memory limit" in facts["layers"]


def test_checks_cross_the_wall_as_plain_data() -> None:
    program = """
class Node:
    def __init__(self, value): self.value = value
def make(value): return Node(value)
def read(node): return node.value
def rotate(items): items.append(items.pop(0))
def pair(x): return (x, {x: {x}})
def fail(): raise KeyError('k')
"""
    checks = """
assert read(make(5)) == 5
items = [1, 2, 3]
assert rotate(items) is None and items == [2, 3, 1]
assert pair(1) == (1, {1: {1}})
try:
    fail()
except KeyError:
    pass
else:
    raise AssertionError('no KeyError')
"""
    assert run_checks(program, checks).outcome is Outcome.COMPLETED
    assert run_checks(program, "assert read(make(5)) == 6, 'no'").detail == "AssertionError: no"
    assert (
        run_checks(program, "def check(candidate):\n    assert candidate(2)[0] == 2", "pair").outcome
        is Outcome.COMPLETED
    )


def test_checks_that_cannot_be_split_are_not_the_programs_fault() -> None:
    with pytest.raises(SandboxError, match="passes a function"):
        run_checks("def apply(f): return f(1)", "assert apply(lambda x: x) == 1")


def test_the_limit_of_a_call_holds_per_call_and_of_the_session_for_all() -> None:
    limits = Limits(wall_s=0.5)
    with ProgramSession("import time\ndef f(s): time.sleep(s)\n", limits, life_s=30) as session:
        assert session.call("f", [0.3]).outcome is Outcome.COMPLETED
        assert session.call("f", [0.3]).outcome is Outcome.COMPLETED
        assert session.call("f", [30]).outcome is Outcome.TIMED_OUT
        assert session.call("f", [0]).outcome is Outcome.TIMED_OUT
