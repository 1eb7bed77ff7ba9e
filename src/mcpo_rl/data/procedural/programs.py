"""Code: the model writes a Python function and it is run against tests. Programs stand in a fenced block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from mcpo_rl.data.procedural.base import Family, Instance, Strategy

TIME_LIMIT_S = 5


def _fence(body: Sequence[str], argument: str) -> str:
    lines = "\n".join(f"    {line}" for line in body)
    return f"```python\ndef solve({argument}):\n{lines}\n```"


def _reference(function: Callable[[Any], Any], inputs: Sequence[Any]) -> dict[str, Any]:
    tests = [{"type": "call", "fn": "solve", "args": [value], "expected": function(value)} for value in inputs]
    return {"tests": tests, "time_limit_s": TIME_LIMIT_S}


_VERBS = {"+": "add", "-": "subtract", "*": "multiply by"}


def _run_steps(x: int, steps: Sequence[tuple[str, int]]) -> int:
    for operator, n in steps:
        x = {"+": x + n, "-": x - n, "*": x * n}[operator]
    return x


def draw_steps(rng: Random, level: int) -> Instance:
    """A number goes through a list of operations in order."""
    count = 2 + level
    steps: list[tuple[str, int]] = []
    for i in range(count):
        # The second step multiplies a sum, so that a program without brackets or with a step left out is wrong.
        operator = "*" if i == 1 else rng.choice("+-" if i == 0 else [op for op in "+-*" if op != steps[-1][0]])
        steps.append((operator, rng.randint(2, 9)))
    wording = ", ".join(f"{_VERBS[op]} {n}" for op, n in steps)

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.CAREFUL:
            return _fence([*(f"x = x {op} {n}" for op, n in steps), "return x"], "x")
        if strategy is Strategy.TERSE:  # one expression, brackets forgotten
            return _fence(["return x " + " ".join(f"{op} {n}" for op, n in steps)], "x")
        kept = list(steps)
        del kept[rng.randrange(len(kept))]
        return _fence([f"x = x {op} {n}" for op, n in kept[:-1]] + [f"return x {kept[-1][0]} {kept[-1][1]}"], "x")

    return Instance(
        question=f"Write solve(x): {wording}.",
        reference=_reference(lambda x: _run_steps(x, steps), [0, 1, 5, -4, 12]),
        trace=trace,
    )


def draw_total(rng: Random, level: int) -> Instance:
    """The sum over the numbers of a list that pass a test, each multiplied."""
    compare = rng.choice([">", "<"])
    bound, factor = rng.randint(1, 30), rng.randint(2, 12)
    words = {">": "greater", "<": "less"}[compare]
    extra = rng.randint(1, 9) if level > 1 else 0
    start = rng.randint(1, 9) if level > 2 else 0
    term = f"x * {factor}" + (f" + {extra}" if extra else "")
    question = f"Write solve(xs): sum of x * {factor}{f' + {extra}' if extra else ''} over each x {words} than {bound}"
    question += f", starting from {start}." if start else "."

    def total(xs: list[int]) -> int:
        return start + sum(x * factor + extra for x in xs if (x > bound if compare == ">" else x < bound))

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.CAREFUL:
            body = [
                f"t = {start}",
                "for x in xs:",
                f"    if x {compare} {bound}:",
                f"        t = t + {term}",
                "return t",
            ]
            return _fence(body, "xs")
        if strategy is Strategy.TERSE:
            return _fence([rng.choice(["return sum(xs)", f"return sum(xs) * {factor}"])], "xs")
        body = [f"t = {start}", "for x in xs:", f"    t = t + {term}", "return t"]  # the test is forgotten
        return _fence(body, "xs")

    inputs = [[], [bound], [1, 2, 3, 4, 5, 6, 7, 8, 9], [bound - 1, bound + 1], [-3, 0, 40]]
    return Instance(question=question, reference=_reference(total, inputs), trace=trace)


def draw_branch(rng: Random, level: int) -> Instance:
    """One of two operations, chosen by divisibility (level 1: by parity)."""
    divisor = 2 if level == 1 else rng.randint(3, 4 + level)
    condition = "even" if divisor == 2 else f"divisible by {divisor}"
    (op1, n1), (op2, n2) = ((rng.choice("+-*"), rng.randint(2, 9)) for _ in range(2))

    def branch(x: int) -> int:
        return _run_steps(x, [(op1, n1)] if x % divisor == 0 else [(op2, n2)])

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.CAREFUL:
            body = [f"if x % {divisor} == 0:", f"    return x {op1} {n1}", f"return x {op2} {n2}"]
        elif strategy is Strategy.TERSE:
            body = [f"return x {op1} {n1}"]
        else:  # the branches are swapped
            body = [f"if x % {divisor} == 1:", f"    return x {op1} {n1}", f"return x {op2} {n2}"]
        return _fence(body, "x")

    return Instance(
        question=f"Write solve(x): if x is {condition} return x {op1} {n1}, else x {op2} {n2}.",
        reference=_reference(branch, [0, 1, 2, 3, 5, 6, 7, 12, divisor * 5 + 1]),
        trace=trace,
    )


_TEXT_STEPS: dict[str, tuple[str, Callable[[str], str]]] = {
    "reverse": ("s = s[::-1]", lambda s: s[::-1]),
    "upper case": ("s = s.upper()", lambda s: s.upper()),
    "lower case": ("s = s.lower()", lambda s: s.lower()),
    "drop the first letter": ("s = s[1:]", lambda s: s[1:]),
    "drop the last letter": ("s = s[:-1]", lambda s: s[:-1]),
    "double": ("s = s * 2", lambda s: s * 2),
    "append a": ('s = s + "a"', lambda s: s + "a"),
    "append b": ('s = s + "b"', lambda s: s + "b"),
    "append c": ('s = s + "c"', lambda s: s + "c"),
}


def draw_text(rng: Random, level: int) -> Instance:
    """A string goes through a list of operations in order."""
    names = rng.sample(sorted(_TEXT_STEPS), 2 + level)

    def apply(s: str) -> str:
        for name in names:
            s = _TEXT_STEPS[name][1](s)
        return s

    def trace(strategy: Strategy, rng: Random) -> str:
        lines = [_TEXT_STEPS[name][0] for name in names]
        if strategy is Strategy.SLOPPY:
            del lines[rng.randrange(len(lines))]
        elif strategy is Strategy.TERSE:
            return _fence([lines[-1].replace("s = ", "return ", 1)], "s")
        return _fence([*lines, "return s"], "s")

    question = f"Write solve(s): {', '.join(names)}."
    return Instance(question=question, reference=_reference(apply, ["", "Ab", "xYz", "hello", "QRST"]), trace=trace)


FAMILIES = {
    f.name: f
    for f in (
        Family(name="steps", domain="code", draw=draw_steps),
        Family(name="total", domain="code", draw=draw_total),
        Family(name="branch", domain="code", draw=draw_branch),
        Family(name="text", domain="code", draw=draw_text),
    )
}
