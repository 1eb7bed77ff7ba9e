"""Code: the model writes a Python program, and the sandbox runs it against tests."""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any

from mcpo_rl.domains.base import correct, failed, incorrect
from mcpo_rl.domains.extraction import after_reasoning, explicit_answer
from mcpo_rl.errors import ProblemError, SandboxError
from mcpo_rl.sandbox import CallResult, Limits, Outcome, ProgramSession, run_checks, run_script
from mcpo_rl.types import Verdict

_FENCE = re.compile(
    r"^[ \t]*(?P<fence>```+|~~~+)[ \t]*(?P<language>[\w+.-]*)[^\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)|\Z)", re.M | re.S
)
_PYTHON = {"", "python", "py", "python3", "py3"}
_CALLABLE = re.compile(r"[A-Za-z_]\w*(?:\(\))?(?:\.[A-Za-z_]\w*(?:\(\))?)*")
_DEFAULT_LIMIT_S = 10.0
_MAX_LIMIT_S = 3600.0
_ALL_TESTS = 4
"""All tests of a program together may take this many times the limit of one."""
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


class CodeDomain:
    r"""Verifies Python programs. References, each with an optional `time_limit_s` (per test; 10 by default):

    - `{"tests": [{"type": "call", "fn": "solve", "args": [2, 3], "expected": 5} | {"type": "stdio", "stdin": "2 3\n",
      "stdout": "5\n"}]}`: the expected values never leave this process.
    - `{"test_code": "def check(candidate): ...", "entry_point": "solve"}` (HumanEval, LeetCode) and
      `{"asserts": ["assert f(1) == 2"]}` (MBPP): the test code runs in a sandbox of its own, apart from the program's;
      see `mcpo_rl.sandbox.run_checks` for what is weaker there. The time limit holds for all of it together.

    Args:
        python: The interpreter that programs run with; None: the one that runs this library.
    """  # noqa: D415

    name = "code"
    answer_format = "Write the Python program in one fenced code block: ```python ... ```"

    def __init__(self, python: str | None = None) -> None:
        self._python = python

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` has one of the three forms."""
        if not isinstance(reference, dict):
            raise ProblemError(
                f"code: the reference must be an object with `tests`, `test_code` or `asserts`, not {reference!r:.80}"
            )
        kinds = [key for key in ("tests", "test_code", "asserts") if key in reference]
        if len(kinds) != 1:
            raise ProblemError(
                "code: the reference needs exactly one of `tests`, `test_code`, `asserts`; "
                f"it has {', '.join(kinds or sorted(reference)) or 'nothing'}"
            )
        limit = reference.get("time_limit_s", _DEFAULT_LIMIT_S)
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit <= _MAX_LIMIT_S:
            raise ProblemError(
                f"code: `time_limit_s` must be a number of seconds in (0, {_MAX_LIMIT_S:g}], not {limit!r}"
            )
        if kinds == ["tests"]:
            _check_tests(reference["tests"])
        elif kinds == ["test_code"]:
            _check_test_code(reference)
        else:
            asserts = reference["asserts"]
            if (
                not isinstance(asserts, list)
                or not asserts
                or not all(isinstance(line, str) and line.strip() for line in asserts)
            ):
                raise ProblemError('code: `asserts` must be a non-empty list of lines such as "assert f(1) == 2"')

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion: read its program and run it."""
        program = read_program(completion)
        if program is None:
            return incorrect("", "no program")
        limits = Limits(wall_s=float(reference.get("time_limit_s", _DEFAULT_LIMIT_S)))
        try:
            if "tests" in reference:
                return self._run_tests(program, reference["tests"], limits)
            checks = reference["test_code"] if "test_code" in reference else "\n".join(reference["asserts"])
            result = run_checks(program, checks, reference.get("entry_point"), limits, python=self._python)
        except SandboxError as error:
            return failed(program, str(error))
        if result.outcome is Outcome.COMPLETED:
            return correct(program, "all checks passed")
        return incorrect(program, _one_line(f"the program {result.outcome.value}: {result.detail}"))

    def _run_tests(self, program: str, tests: list[dict[str, Any]], limits: Limits) -> Verdict:
        calls = [test for test in tests if test["type"] == "call"]
        end = time.monotonic() + _ALL_TESTS * limits.wall_s
        if calls:
            with ProgramSession(program, limits, life_s=_ALL_TESTS * limits.wall_s, python=self._python) as session:
                for test in calls:
                    called = session.call(test["fn"], test.get("args", []), test.get("kwargs"))
                    wrong = _wrong_call(test, called)
                    if wrong:
                        return incorrect(program, _one_line(wrong))
        for test in tests:
            if test["type"] != "stdio":
                continue
            if time.monotonic() > end:
                return incorrect(program, f"all tests together ran out of time ({_ALL_TESTS * limits.wall_s:g} s)")
            printed = run_script(program, test["stdin"], limits, python=self._python)
            if printed.outcome is not Outcome.COMPLETED:
                return incorrect(
                    program, _one_line(f"on stdin {test['stdin']!r:.80} it {printed.outcome.value}: {printed.detail}")
                )
            if not same_output(test["stdout"], printed.stdout):
                return incorrect(
                    program,
                    _one_line(
                        f"on stdin {test['stdin']!r:.80} it printed {printed.stdout!r:.80}, not {test['stdout']!r:.80}"
                    ),
                )
        return correct(program, f"{len(tests)} of {len(tests)} tests passed")


def read_program(completion: str) -> str | None:
    """Return the last fenced Python block after the reasoning, else the whole text; None where there is nothing."""
    text = after_reasoning(completion)
    if text is None:
        return None
    blocks = [match["body"] for match in _FENCE.finditer(text) if match["language"].lower() in _PYTHON]
    if blocks:
        program = blocks[-1]
    else:
        tagged = explicit_answer(text) if "<answer>" in text else None
        program = text if tagged is None else tagged
    return program if program.strip() else None


def same_value(expected: Any, value: Any) -> bool:
    """Whether `value` (plain data of exact types, from the sandbox) is the `expected` JSON value.

    A bool equals only a bool. An int and a float are equal when their values are; a float expected with a fraction
    allows 1e-6 of it (or 1e-9); nothing equals NaN, and an infinity only itself. JSON has no tuples and only text as
    keys, so a tuple may stand for a list and a number for the key that is its text.
    """
    if isinstance(expected, bool) or isinstance(value, bool) or expected is None or isinstance(expected, str):
        return type(expected) is type(value) and bool(expected == value)
    if isinstance(expected, (int, float)):
        return type(value) in (int, float) and _same_number(expected, value)
    if isinstance(expected, (list, tuple)):
        return (
            type(value) in (list, tuple)
            and len(expected) == len(value)
            and all(same_value(one, other) for one, other in zip(expected, value, strict=True))
        )
    if isinstance(expected, dict):
        if type(value) is not dict or len(expected) != len(value):
            return False
        by_text = {key if type(key) is str else json.dumps(key): item for key, item in value.items() if _is_key(key)}
        return len(by_text) == len(expected) and all(
            key in by_text and same_value(expected[key], by_text[key]) for key in expected
        )
    return False


def _is_key(key: Any) -> bool:
    return type(key) in (str, int, float, bool) or key is None


def _same_number(expected: float, value: float) -> bool:
    if expected == value:
        return True
    if (
        isinstance(expected, int)
        or not math.isfinite(expected)
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return False
    try:
        return math.isclose(expected, value, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    except OverflowError:  # an int beyond the range of floats
        return False


def same_output(expected: str, printed: str) -> bool:
    """Whether `printed` is the expected output: line by line, white space at the end of lines and of the text forgiven.

    A word that is expected with a decimal point may differ by 1e-6 of it (or 1e-9).
    """
    wanted = [line.split() for line in expected.rstrip().splitlines()]
    got = [line.split() for line in printed.rstrip().splitlines()]
    if len(wanted) != len(got):
        return False
    for wanted_line, got_line in zip(wanted, got, strict=True):
        if len(wanted_line) != len(got_line):
            return False
        if not all(one == other or _same_decimal(one, other) for one, other in zip(wanted_line, got_line, strict=True)):
            return False
    return True


def _same_decimal(expected: str, printed: str) -> bool:
    decimal = r"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d{1,3})?"
    if (
        "." not in expected
        or not re.fullmatch(decimal, expected)
        or not re.fullmatch(decimal, printed)
        or len(printed) > 400
    ):
        return False
    return math.isclose(float(expected), float(printed), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _wrong_call(test: dict[str, Any], called: CallResult) -> str:
    """Return what is wrong with the outcome of a call, or ''."""
    name = f"{test['fn']}({', '.join(f'{value!r:.40}' for value in test.get('args', []))})"
    if called.outcome is not Outcome.COMPLETED:
        return f"{name} {called.outcome.value}: {called.detail}"
    if not same_value(test["expected"], called.value):
        return f"{name} returned {_short(called.value)}, not {_short(test['expected'])}"
    return ""


def _short(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # an int with too many digits to print
        return "a very large number"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400].rstrip(": ")


def _check_tests(tests: Any) -> None:
    if not isinstance(tests, list) or not tests:
        raise ProblemError("code: `tests` must be a non-empty list")
    for place, test in enumerate(tests):
        kind = test.get("type") if isinstance(test, dict) else None
        if kind == "call":
            needed: dict[str, Any] = {"fn": str, "args": list}
            if "expected" not in test:
                raise ProblemError(f"code: tests[{place}] (call) has no `expected`")
            if isinstance(test.get("fn"), str) and not _CALLABLE.fullmatch(test["fn"]):
                raise ProblemError(
                    f"code: tests[{place}]: `fn` must be a name such as `solve` or `Solution().solve`, "
                    f"not {test['fn']!r}"
                )
        elif kind == "stdio":
            needed = {"stdin": str, "stdout": str}
        else:
            raise ProblemError(
                f'code: tests[{place}] must be an object with `type` "call" or "stdio", not {test!r:.80}'
            )
        for key, form in needed.items():
            if not isinstance(test.get(key), form):
                raise ProblemError(
                    f"code: tests[{place}] ({kind}): `{key}` must be a {form.__name__}, not {test.get(key)!r:.80}"
                )


def _check_test_code(reference: dict[str, Any]) -> None:
    test_code, entry_point = reference["test_code"], reference.get("entry_point")
    if not isinstance(test_code, str) or not re.search(r"^def\s+check\s*\(", test_code, re.M):
        raise ProblemError("code: `test_code` must define `check(candidate)`")
    if not isinstance(entry_point, str) or not _CALLABLE.fullmatch(entry_point):
        raise ProblemError(
            f"code: `entry_point` must be a name such as `solve` or `Solution().solve`, not {entry_point!r}"
        )
