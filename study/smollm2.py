"""The problems of study/smollm2.yaml: `python -m study.smollm2` writes them.

SmolLM2-135M-Instruct, asked without an example, seldom answers in a form that a verifier can read. One worked answer
per kind of problem stands before each question, as a turn of its own: what is left to learn is mostly the skill.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpo_rl.data import load_problems
from mcpo_rl.runs.files import write_text
from mcpo_rl.types import Message, Problem

DIRECTORY = Path("runs/study/smollm2-problems")
TRAIN, HELDOUT = 240, 120
"""Problems of each domain, even numbers: a run draws none of the first twice, and trains on none of the second."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem: where it is drawn from, and the turn that shows how to answer."""

    entry: Mapping[str, Any]
    system: str
    question: str
    """Of the example; no problem asks it."""
    answer: str

    def shown(self, problem: Problem) -> list[Message]:
        """Return the problem's prompt behind the example."""
        before: list[Message] = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.question},
            {"role": "assistant", "content": self.answer},
        ]
        return [*before, *problem.prompt]


def _procedural(domain: str, family: str) -> dict[str, Any]:
    return {"source": "procedural", "domain": domain, "level": 1, "families": [family]}


BRIEF, STEPS, CODE = "Reply with the answer only.", "Reply step by step.", "Reply with the Python function only."

KINDS: Mapping[str, tuple[Kind, Kind]] = {
    "math": (
        Kind(
            entry={
                "source": "reasoning-gym",
                "tasks": ["products"],
                "config": {"products": {"min_digits": 1, "max_digits": 2}},
            },
            system=BRIEF,
            question="Solve the following multiplication: 12 * 7. Give only the result as your final answer.",
            answer="84",
        ),
        Kind(
            entry=_procedural("math", "linear"),
            system=STEPS,
            question="Solve 5x - 8 = 7.",
            answer="5x = 7 + 8 = 15\nx = 15 / 5 = 3\n#### 3",
        ),
    ),
    "code": (
        Kind(
            entry=_procedural("code", "branch"),
            system=CODE,
            question="Write solve(x): if x is odd return x - 2, else x * 3.",
            answer="def solve(x):\n    return x - 2 if x % 2 else x * 3",
        ),
        Kind(
            entry=_procedural("code", "total"),
            system=CODE,
            question="Write solve(xs): sum of x + 5 over each x greater than 4.",
            answer="def solve(xs):\n    return sum(x + 5 for x in xs if x > 4)",
        ),
    ),
    "logic": (
        Kind(
            entry=_procedural("logic", "boolean"),
            system=STEPS,
            question="a = True. b = False. c = a and b. d = c or a. e = not d. What is e?",
            answer="c = False. d = True. e = False.\n<answer>False</answer>",
        ),
        Kind(
            entry=_procedural("logic", "knights"),
            system=BRIEF,
            question="Dan says Hal is a knave. Hal says Dan and Hal are the same. Who is a knight, who a knave?",
            answer="Dan is a knight, Hal is a knave",
        ),
    ),
}
"""Two kinds of each domain."""


def problems(train: int, heldout: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows to train on and those held out: as many of every domain, its two kinds in turn.

    All are different questions of the sources' `train` split, cut in two: the tenth that is `heldout` there is too few.
    """
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for kinds in KINDS.values():
        drawn = [_drawn(kind, (train + heldout) // 2) for kind in kinds]
        rows = [row for pair in zip(*drawn, strict=True) for row in pair]
        parts[0].extend(rows[:train])
        parts[1].extend(rows[train:])
    return parts


def _drawn(kind: Kind, count: int) -> list[dict[str, Any]]:
    """Return `count` rows of a kind, none with the example's own question."""
    found = load_problems({**kind.entry, "split": "train", "count": count + 1, "seed": 0})
    others = [problem for problem in found if problem.prompt[-1]["content"] != kind.question][:count]
    return [
        {
            "id": problem.id,
            "domain": problem.domain,
            "source": problem.source,
            "prompt": kind.shown(problem),
            "reference": problem.reference,
        }
        for problem in others
    ]


def write_problems(directory: Path, *, train: int = TRAIN, heldout: int = HELDOUT) -> None:
    """Write `train.jsonl` and `heldout.jsonl`; equal arguments give equal bytes."""
    for name, rows in zip(("train", "heldout"), problems(train, heldout), strict=True):
        write_text(directory / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    """Write the problems where the recipe looks for them."""
    parser = argparse.ArgumentParser(
        prog="python -m study.smollm2", description="Write the problems of SmolLM2's runs."
    )
    parser.add_argument("--output", type=Path, default=DIRECTORY, help=f"directory (default {DIRECTORY})")
    directory = parser.parse_args().output
    write_problems(directory)
    print(f"problems: {directory}")


if __name__ == "__main__":
    main()
