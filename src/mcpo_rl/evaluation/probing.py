"""The probe set: which completions of an evaluation become the fixed rollouts that every checkpoint is measured on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpo_rl.errors import ProblemError
from mcpo_rl.evaluation.completions import completions_path, read_completions
from mcpo_rl.evaluation.result import EvaluationResult
from mcpo_rl.runs.probe import ProbeSet
from mcpo_rl.types import Message, Problem, Status

DRAWN_PER_CHOSEN = 2
"""Completions drawn for each that is chosen, so that there are correct and incorrect ones to choose from."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One judged completion."""

    key: str
    """The problem's."""
    domain: str
    prompt: list[Message] | str
    completion: str
    status: str
    truncated: bool


def candidates_of(result: EvaluationResult) -> list[Candidate]:
    """Return the completions of an evaluation that is at hand."""
    return [
        Candidate(
            key=result.scores[item.problem].key,
            domain=result.problems[item.problem].domain,
            prompt=list(result.problems[item.problem].prompt),
            completion=item.text,
            status=str(item.verdict.status),
            truncated=item.truncated,
        )
        for item in result.completions
    ]


def candidates_in(path: str | Path) -> list[Candidate]:
    """Return the completions of an evaluation on disk.

    Args:
        path: An eval.json with its completions beside it, or the `.completions.parquet` itself.

    Raises:
        RunError: There is no such file, or it holds something else.
    """
    names = ("key", "domain", "prompt", "completion", "status", "truncated")
    file = completions_path(path) if Path(path).suffix == ".json" else Path(path)
    return [Candidate(**{name: row[name] for name in names}) for row in read_completions(file)]


def choose_probe_set(
    candidates: Sequence[Candidate],
    *,
    per_domain: int,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    origin: str = "",
) -> ProbeSet:
    """Choose the probe set: of each domain as many correct as incorrect rollouts, on as many problems as possible.

    Where there are too few of one verdict, the other fills up. The choice knows no chance. Completions that could not
    be judged, or that are empty, are left out.

    Args:
        candidates: Judged completions, several of each problem if possible.
        per_domain: The most rollouts of a domain.
        chat_template_kwargs: With which the prompts are put to the model.
        origin: Whose completions these are.

    Raises:
        ProblemError: Nothing can be chosen.
    """
    kinds: dict[str, dict[str, list[Candidate]]] = {}
    for candidate in candidates:
        if candidate.status in (Status.CORRECT, Status.INCORRECT) and candidate.completion.strip():
            kinds.setdefault(candidate.domain, defaultdict(list))[candidate.status].append(candidate)
    chosen: list[Candidate] = []
    for domain in sorted(kinds):
        correct, incorrect = (_problems_in_turn(kinds[domain][status]) for status in (Status.CORRECT, Status.INCORRECT))
        few = min(len(correct), per_domain // 2)
        wrong = incorrect[: per_domain - few]
        chosen += correct[: per_domain - len(wrong)] + wrong
    if not chosen:
        raise ProblemError(
            f"None of the {len(candidates)} completions can be in a probe set: all are empty or could not be judged."
        )
    return ProbeSet(
        prompts=[candidate.prompt for candidate in chosen],
        completions=[candidate.completion for candidate in chosen],
        domains=[candidate.domain for candidate in chosen],
        keys=[candidate.key for candidate in chosen],
        verdicts=[str(candidate.status) for candidate in chosen],
        truncated=[candidate.truncated for candidate in chosen],
        chat_template_kwargs=dict(chat_template_kwargs or {}),
        origin=origin,
    )


def problems_to_draw(problems: Sequence[Problem], *, per_domain: int, samples: int) -> list[Problem]:
    """Return the first problems of each domain, as many as give twice `per_domain` completions with `samples` each.

    Args:
        problems: To take from.
        per_domain: The most rollouts of a domain.
        samples: Completions drawn per problem.
    """
    most = max(2, -(-DRAWN_PER_CHOSEN * per_domain // samples))
    seen: dict[str, int] = defaultdict(int)
    taken = []
    for problem in problems:
        seen[problem.domain] += 1
        if seen[problem.domain] <= most:
            taken.append(problem)
    return taken


def _problems_in_turn(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the first of every problem, then the second of every problem, and so on."""
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for candidate in candidates:
        turns.append(seen[candidate.key])
        seen[candidate.key] += 1
    order = sorted(range(len(candidates)), key=lambda row: turns[row])
    return [candidates[row] for row in order]
