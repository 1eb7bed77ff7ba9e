"""What the sandbox offers: run a script, call a program's functions, or run test code against a program.

Only code and inputs go in. What the answers ought to be stays with the caller, who compares plain data outside.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mcpo_rl.errors import SandboxError
from mcpo_rl.sandbox.process import Child, Limits, Outcome, ProgramEnded
from mcpo_rl.sandbox.wire import NotPlainError, decode, encode


@dataclass(frozen=True, kw_only=True)
class ScriptResult:
    """How a script ended and what it printed."""

    outcome: Outcome
    """`COMPLETED` for exit code 0."""
    stdout: str = ""
    """All that it printed, at most `Limits.output_bytes` bytes."""
    detail: str = ""
    """Why it did not complete, in one line."""


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """How one call ended."""

    outcome: Outcome
    value: Any = None
    """Plain data of exact built-in types, when `outcome` is `COMPLETED`."""
    detail: str = ""
    """Why it did not complete, in one line."""


def run_script(
    program: str, stdin: str = "", limits: Limits | None = None, *, python: str | None = None
) -> ScriptResult:
    """Run `program` in a process of its own, as `python program.py < stdin` would.

    Args:
        program: Python source; untrusted.
        stdin: All of its standard input.
        limits: None: the defaults.
        python: The interpreter; None: the one that runs this library.

    Raises:
        SandboxError: The sandbox itself failed. Whatever the program does is a result.
    """
    limits = limits or Limits()
    job = {"mode": "script", "program": program, "stdin": stdin}
    with Child(job, limits, life_s=limits.wall_s, python=python) as child:
        child.wait_ready()
        try:
            child.wait_end(time.monotonic() + limits.wall_s)
        except ProgramEnded as end:
            return ScriptResult(outcome=end.outcome, stdout=_text(child.stdout), detail=end.detail)
        last_line = _text(child.stderr).strip().rpartition("\n")[2][:300]
        if child.exit_code == 0:
            return ScriptResult(outcome=Outcome.COMPLETED, stdout=_text(child.stdout))
        if child.exit_code == 1 and last_line:
            return ScriptResult(outcome=Outcome.RAISED, stdout=_text(child.stdout), detail=last_line)
        return ScriptResult(outcome=Outcome.EXITED, stdout=_text(child.stdout), detail=child.how_it_ended())


class ProgramSession:
    """A program loaded once, whose functions are then called with one input at a time.

    Use it as a context manager. After a result other than `COMPLETED` or `RAISED` the process is gone for good, and
    every later call returns that result again.

    Args:
        program: Python source; untrusted. Its `__name__` is `program`, so a main block does not run.
        limits: None: the defaults. `wall_s` holds for loading the program and for each call.
        life_s: Seconds for all calls together; None: `wall_s`.
        python: The interpreter; None: the one that runs this library.

    Raises:
        SandboxError: The sandbox itself failed, here or in `call`.

    Example:
        >>> with ProgramSession("def double(x): return 2 * x") as session:
        ...     session.call("double", [21]).value
        42
    """

    def __init__(
        self, program: str, limits: Limits | None = None, *, life_s: float | None = None, python: str | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._life_s = self.limits.wall_s if life_s is None else life_s
        self._nonce = secrets.token_hex(16)
        job = {"mode": "serve", "program": program, "nonce": self._nonce}
        self.child = Child(job, self.limits, life_s=self._life_s, python=python)
        self._end = 0.0
        self._failed: CallResult | None = None
        self._loaded = False

    def __enter__(self) -> ProgramSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close()

    def load(self) -> CallResult:
        """Wait until the program's top level has run. `call` does this itself."""
        if not self._loaded:
            self._loaded = True
            self.child.wait_ready()
            self._end = time.monotonic() + self._life_s
            loaded = self._result(self._receive(self._nonce))
            if loaded.outcome is not Outcome.COMPLETED:
                self._failed = loaded
        return self._failed or CallResult(outcome=Outcome.COMPLETED)

    def call(self, function: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> CallResult:
        """Call one of the program's functions with plain data.

        Args:
            function: A name in the program, or an expression for a callable, such as `Solution().solve`.
            args: Positional arguments: plain data.
            kwargs: Keyword arguments: plain data.
        """
        request = {
            "args": [json.loads(encode(value, json.dumps)) for value in args],
            "kwargs": {name: json.loads(encode(value, json.dumps)) for name, value in (kwargs or {}).items()},
        }
        reply = self.call_encoded({"call": function, **request, "by_reference": False})
        return reply if isinstance(reply, CallResult) else self._result(reply)

    def call_encoded(self, request: dict[str, Any]) -> CallResult | dict[str, Any]:
        """Send one request as `runner.py` takes it; return its untrusted reply, or how the program ended."""
        self.load()
        if self._failed is not None:
            return self._failed
        nonce = secrets.token_hex(16)
        self.child.send(json.dumps({**request, "nonce": nonce}))
        reply = self._receive(nonce)
        if isinstance(reply, CallResult):
            self._failed = reply
        return reply

    def _receive(self, nonce: str) -> CallResult | dict[str, Any]:
        try:
            reply = self.child.receive(nonce, min(time.monotonic() + self.limits.wall_s, self._end))
        except ProgramEnded as end:
            return CallResult(outcome=end.outcome, detail=end.detail)
        if not isinstance(reply, dict):
            return CallResult(outcome=Outcome.MALFORMED, detail="its reply has not the form of one")
        return reply

    def _result(self, reply: CallResult | dict[str, Any]) -> CallResult:
        if isinstance(reply, CallResult):
            return reply
        raised = _as_raised(reply)
        if raised is not None:
            return CallResult(outcome=Outcome.RAISED, detail=": ".join(raised))
        try:
            return CallResult(outcome=Outcome.COMPLETED, value=decode(reply["value"]))
        except (KeyError, NotPlainError, RecursionError) as error:
            detail = reply.get("not_plain")
            return CallResult(
                outcome=Outcome.MALFORMED, detail=detail if isinstance(detail, str) else f"its reply: {error}"
            )


def run_checks(
    program: str,
    checks: str,
    entry_point: str | None = None,
    limits: Limits | None = None,
    *,
    python: str | None = None,
) -> CallResult:
    """Run trusted-in-intent test code against an untrusted program, each in a sandbox of its own.

    The test code runs where the program cannot reach it. Names that it uses but does not define are functions of the
    program: each call crosses the wall as plain data, so no object of the program takes part in a comparison. An
    argument that the program changes in place is changed in the test code too. What is weaker than in `ProgramSession`:
    a helper that the test code takes from the program (as some HumanEval checks do) is the program's to write, and
    inputs are seen before all outputs are judged.

    Args:
        program: Python source; untrusted.
        checks: Test code: assert statements, or the definition of `check(candidate)`.
        entry_point: Passed to `check` as `candidate`: a name in the program or an expression like `Solution().solve`.
            None: `checks` is run as it is.
        limits: None: the defaults. `wall_s` holds for everything together.
        python: The interpreter; None: the one that runs this library.

    Returns:
        `COMPLETED` when all checks passed; otherwise how and where it failed.

    Raises:
        SandboxError: The sandbox itself failed, or the test code passes what cannot cross the wall (a function, an
            object).
    """
    limits = limits or Limits()
    nonce = secrets.token_hex(16)
    job = {"mode": "check", "program": checks, "entry_point": entry_point, "nonce": nonce}
    with (
        ProgramSession(program, limits, python=python) as session,
        Child(job, limits, life_s=limits.wall_s, python=python) as checker,
    ):
        loaded = session.load()
        if loaded.outcome is not Outcome.COMPLETED:
            return loaded
        checker.wait_ready()
        deadline = time.monotonic() + limits.wall_s
        while True:
            try:
                message = checker.receive(nonce, deadline)
            except ProgramEnded as end:
                return CallResult(outcome=end.outcome, detail=f"while the test code ran: {end.detail}")
            if "not_plain" in message:
                raise SandboxError(f"the test code cannot be run apart from the program: {message['not_plain']}")
            if "raised" in message:
                return CallResult(outcome=Outcome.RAISED, detail=": ".join(message["raised"]).rstrip(": "))
            if "call" not in message:
                return CallResult(outcome=Outcome.COMPLETED)
            reply = session.call_encoded({**message, "by_reference": True})
            if isinstance(reply, CallResult):
                return reply
            answer = _checked_reply(reply, len(message["args"]))
            if answer is None:
                return CallResult(
                    outcome=Outcome.MALFORMED, detail=str(reply.get("not_plain", "its reply has not the form of one"))
                )
            checker.send(json.dumps(answer))


def _as_raised(reply: dict[str, Any]) -> list[str] | None:
    raised = reply.get("raised")
    if isinstance(raised, list) and len(raised) == 2 and all(isinstance(part, str) for part in raised):
        return [part[:500] for part in raised]
    return None


def _checked_reply(reply: dict[str, Any], arguments: int) -> dict[str, Any] | None:
    """Return what the test code may see of an untrusted reply, or None where it has not the form of one."""
    raised = _as_raised(reply)
    if raised is not None:
        return {"raised": raised}
    try:
        decode(reply["value"], lambda number: number)
        changed = [(place, node) for place, node in reply["changed"] if type(place) is int and 0 <= place < arguments]
        for _, node in changed:
            decode(node, lambda number: number)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return {"value": reply["value"], "changed": changed}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
