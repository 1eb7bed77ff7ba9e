"""The result of an evaluation: its record, and every completion with its verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from mcpo_rl.runs.files import encodable, replacing, write_text
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
        """Write the numbers to `path` (JSON) and every completion beside it (Parquet, same name); return `path`.

        Raises:
            RunError: A file could not be written; neither is left half-written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        rows = [
            {
                "key": self.scores[item.problem].key,
                "id": self.problems[item.problem].id,
                "domain": self.problems[item.problem].domain,
                "source": self.problems[item.problem].source,
                "prompt": _json(self.problems[item.problem].prompt),
                "reference": _json(self.problems[item.problem].reference),
                "sample": item.sample,
                "completion": encodable(item.text),
                "status": str(item.verdict.status),
                "reward": item.verdict.reward,
                "answer": encodable(item.verdict.answer),
                "detail": encodable(item.verdict.detail),
                "tokens": item.tokens,
                "truncated": item.truncated,
            }
            for item in self.completions
        ]
        # An all-null column would lose its type, so the schema is fixed.
        kinds = {"sample": pa.int64(), "reward": pa.float64(), "tokens": pa.int64(), "truncated": pa.bool_()}
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
        with replacing(path.with_suffix(".parquet")) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")
        return path


COLUMNS = (
    "key",
    "id",
    "domain",
    "source",
    "prompt",
    "reference",
    "sample",
    "completion",
    "status",
    "reward",
    "answer",
    "detail",
    "tokens",
    "truncated",
)


def _json(value: object) -> str:
    return encodable(json.dumps(value, ensure_ascii=False))
