r"""How benchmarks put their questions: sentences before and after what the dataset holds.

The verifiers read all of these forms, and every other one that docs/verifiers.md lists: a form is asked for because
models answer better to the one that they were trained on, not because another would not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mcpo_rl.data.sources.reading import with_answer_format
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.types import Problem

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""What the model cards of Qwen2.5-Math, Qwen3 and DeepSeek-R1 ask for."""
ROLES = (
    "Reason step by step. Then say who is what, one person after the other, inside <answer> and </answer>, in this "
    "form: <answer>(1) Zoey is a knight (2) Liam is a knave</answer>"
)
"""The form of Logic-RL."""
GRID = "Reason step by step, then give the JSON, and nothing else, inside <answer> and </answer>."
PROGRAM = "Give the whole program in one fenced code block: ```python ... ```"
CONTEST_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests."
)
"""LiveCodeBench's own system message, up to its last sentence, which forbids to reason."""


def after(sentence: str, *, system: str = "") -> Callable[[Problem], Problem]:
    """Return what puts `sentence` after a question, and a system message in front of it where one is given."""

    def ask(problem: Problem) -> Problem:
        *before, last = problem.prompt
        question = {"role": last["role"], "content": f"{last['content']}\n\n{sentence}"}
        opening = [{"role": "system", "content": system}] if system else []
        return replace(problem, prompt=[*opening, *before, question])  # type: ignore[list-item]

    return ask


def _bare(problem: Problem) -> Problem:
    return problem


FORMS: dict[str, str] = {
    "benchmark": "the benchmark's own form, as its papers ask",
    "domain": "the domain's sentence, as `answer_format: true` of a recipe appends it",
    "none": "the question alone",
}
"""Ways of asking, by the name that `--answer-form` takes."""


def asking(form: str, own: Callable[[Problem], Problem]) -> Callable[[Problem], Problem]:
    """Return how questions are put.

    Args:
        form: A key of `FORMS`.
        own: The benchmark's way.

    Raises:
        ConfigError: There is no such form.
    """
    known = {"benchmark": own, "domain": with_answer_format, "none": _bare}
    if form not in known:
        raise ConfigError(f"unknown answer form `{form}`; expected {', '.join(FORMS)}.{nearest(form, FORMS)}")
    return known[form]
