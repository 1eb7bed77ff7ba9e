"""The result of an evaluation: its record, and every completion with its verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from mcpo_rl.evaluation.completions import completions_path, write_completions
from mcpo_rl.runs.files import write_text
from mcpo_rl.scores import EvaluationRecord
from mcpo_rl.types import Problem, Verdict


@dataclass(frozen=True, kw_only=True)
class EvaluatedCompletion:
    """One completion of one problem."""

    problem: int
    """Row of the problem in `EvaluationResult.problems`, and of its score in `scores`."""
    sample: int
    """0 to samples - 1."""
    text: str
    verdict: Verdict
    tokens: int
    """Generated tokens, the end token included."""
    truncated: bool
    """Cut at `max_new_tokens` before the end token came."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(EvaluationRecord):
    """What `evaluate` returns. `domains`, `sources`, `macro` and `micro` hold the numbers."""

    problems: list[Problem] = field(default_factory=list)
    completions: list[EvaluatedCompletion] = field(default_factory=list)
    """In the order of the problems, then of the samples."""

    def save(self, path: str | Path) -> Path:
        """Write the numbers to `path` (JSON) and every completion beside it (`completions_path`); return `path`.

        Raises:
            RunError: A file could not be written; neither is left half-written.
        """
        path = Path(path)
        rows = [
            {
                "key": self.scores[item.problem].key,
                "domain": self.problems[item.problem].domain,
                "source": self.problems[item.problem].source,
                "id": self.problems[item.problem].id,
                "sample": item.sample,
                "prompt": self.problems[item.problem].prompt,
                "reference": self.problems[item.problem].reference,
                "completion": item.text,
                "status": str(item.verdict.status),
                "answer": item.verdict.answer,
                "reward": item.verdict.reward,
                "detail": item.verdict.detail,
                "tokens": item.tokens,
                "truncated": item.truncated,
            }
            for item in self.completions
        ]
        write_completions(rows, completions_path(path))
        # Last: an eval.json that is there has its completions beside it.
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")
        return path
