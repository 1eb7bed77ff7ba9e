"""Mathematics: arithmetic chains, fractions, greatest common divisors, linear equations; answers: `#### value`."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from random import Random

from mcpo_rl.data.procedural.base import Family, Instance, Strategy

SLIP = 0.75
"""Chance that a sloppy trace goes wrong: what makes merging steps a bad habit."""


def _off(value: int, rng: Random) -> int:
    """Return a near miss of `value`, never negative where `value` is not."""
    miss = value + rng.choice([-3, -2, -1, 1, 2, 3])
    return abs(miss) if value >= 0 else miss


def _guess(value: int, rng: Random, spread: int) -> int:
    guess = value + rng.randint(-spread, spread)
    return abs(guess) if value >= 0 else guess


def draw_chain(rng: Random, level: int) -> Instance:
    """Additions and subtractions (from level 2 also products) read from left to right; every partial result is >= 0."""
    steps, top = 2 + 2 * level, {1: 9, 2: 20, 3: 50}[level]
    total = rng.randint(1, top)
    question, values, operations = str(total), [total], []
    for _ in range(steps):
        choices = ["+", "-"] if level == 1 else ["+", "-", "*"]
        operator = rng.choice(choices)
        operand = rng.randint(1, top) if operator != "*" else rng.randint(2, 3)
        if operator == "-" and operand > total:
            operator = "+"
        if operator == "*" and total > 40:
            operator = "-"
            operand = rng.randint(1, min(top, total))
        total = {"+": total + operand, "-": total - operand, "*": total * operand}[operator]
        # Brackets keep the written expression equal to the left-to-right reading once a product follows.
        question = f"({question}) * {operand}" if operator == "*" else f"{question} {operator} {operand}"
        operations.append((operator, operand))
        values.append(total)

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return f"#### {_guess(total, rng, 6)}"
        if strategy is Strategy.CAREFUL:
            lines = [f"{values[i]} {op} {n} = {values[i + 1]}" for i, (op, n) in enumerate(operations)]
            return "\n".join([*lines, f"#### {total}"])
        shift, lines = 0, []
        for i in range(0, steps, 2):  # two operations in one line
            (op1, n1), (op2, n2) = operations[i], operations[i + 1]
            shown = values[i + 2] + shift
            if rng.random() < SLIP:
                shown = _off(shown, rng)
            lines.append(f"{max(values[i] + shift, 0)} {op1} {n1} {op2} {n2} = {max(shown, 0)}")
            shift = max(shown, 0) - values[i + 2]
        return "\n".join([*lines, f"#### {max(total + shift, 0)}"])

    return Instance(question=f"Compute {question}.", reference=str(total), trace=trace)


def draw_fraction(rng: Random, level: int) -> Instance:
    """Sum or difference of two proper fractions, result >= 0; any fraction of that value is right."""
    top = {1: 9, 2: 12, 3: 20}[level]

    def proper() -> Fraction:
        denominator = rng.randint(2, top)
        return Fraction(rng.randint(1, denominator - 1), denominator)

    a, b = proper(), proper()
    operator = rng.choice("+-")
    if operator == "-" and b > a:
        a, b = b, a
    result = a + b if operator == "+" else a - b
    left, right = a.numerator * b.denominator, b.numerator * a.denominator
    top_result = left + right if operator == "+" else left - right
    bottom = a.denominator * b.denominator

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return f"#### {_off(top_result, rng)}/{bottom}"
        if strategy is Strategy.CAREFUL:
            lines = [
                f"{a.numerator} * {b.denominator} = {left}",
                f"{b.numerator} * {a.denominator} = {right}",
                f"{left} {operator} {right} = {top_result}",
                f"{a.denominator} * {b.denominator} = {bottom}",
            ]
            return "\n".join([*lines, f"#### {top_result}/{bottom}"])
        apart = a.numerator + b.numerator if operator == "+" else abs(a.numerator - b.numerator)
        wrong = f"{apart}/{a.denominator + b.denominator}"  # the classic mistake: tops and bottoms apart
        shown = wrong if rng.random() < SLIP else f"{top_result}/{bottom}"
        return f"{a} {operator} {b} = {shown}\n#### {shown}"

    return Instance(question=f"Compute {a} {operator} {b}.", reference=str(result), trace=trace)


def draw_gcd(rng: Random, level: int) -> Instance:
    """Greatest common divisor by Euclid's algorithm; the numbers share a factor more often than by chance."""
    top = {1: 40, 2: 100, 3: 400}[level]
    factor = rng.choice([1, 2, 3, 4, 5, 6])
    a, b = (factor * rng.randint(2, top // factor) for _ in range(2))
    a, b = max(a, b), min(a, b)
    result = gcd(a, b)

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return f"#### {rng.choice([1, 2, 3, 4, 5, 6])}"
        if strategy is Strategy.CAREFUL:
            lines, x, y = [], a, b
            while y:
                lines.append(f"{x} mod {y} = {x % y}")
                x, y = y, x % y
            return "\n".join([*lines, f"#### {result}"])
        shown = rng.choice([1, 2, 3, a - b or a]) if rng.random() < SLIP else result
        return f"{a} - {b} = {a - b}\n#### {shown}"

    return Instance(question=f"What is gcd({a}, {b})?", reference=str(result), trace=trace)


def draw_linear(rng: Random, level: int) -> Instance:
    """`a x + b = c` with an integer solution (from level 2 it may be negative)."""
    top = {1: 9, 2: 12, 3: 30}[level]
    a, x = rng.randint(2, 9 if level < 3 else 15), rng.randint(0 if level == 1 else -top, top)
    b = rng.randint(1, top)
    sign = rng.choice("+-")
    c = a * x + b if sign == "+" else a * x - b
    back = "-" if sign == "+" else "+"

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return f"#### {_guess(x, rng, 5)}"
        if strategy is Strategy.CAREFUL:
            return f"{a}x = {c} {back} {b} = {a * x}\nx = {a * x} / {a} = {x}\n#### {x}"
        shown = _off(x, rng) if rng.random() < SLIP else x
        return f"x = {c} {back} {b} / {a} = {shown}\n#### {shown}"

    return Instance(question=f"Solve {a}x {sign} {b} = {c}.", reference=str(x), trace=trace)


FAMILIES = {
    f.name: f
    for f in (
        Family(name="chain", domain="math", draw=draw_chain),
        Family(name="fraction", domain="math", draw=draw_fraction),
        Family(name="gcd", domain="math", draw=draw_gcd),
        Family(name="linear", domain="math", draw=draw_linear),
    )
}
