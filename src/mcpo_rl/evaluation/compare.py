"""Comparing two evaluations, in memory or on disk."""

from __future__ import annotations

from pathlib import Path

from mcpo_rl.scores import Comparison, EvaluationRecord, compare_records


def compare_evaluations(
    first: EvaluationRecord | str | Path, second: EvaluationRecord | str | Path, *, seed: int = 0
) -> Comparison:
    """Return the accuracy of `second` minus that of `first`, per domain, with paired bootstrap intervals.

    `comparison.domains["math"].clear` tells whether the interval leaves 0 out.

    Args:
        first: An evaluation, or the path of its eval.json.
        second: Another, on the same problems.
        seed: Of the bootstrap.

    Raises:
        ProblemError: They were made on different problems.
        RunError: A file cannot be read.
    """
    return compare_records(_record(first), _record(second), seed=seed)


def _record(evaluation: EvaluationRecord | str | Path) -> EvaluationRecord:
    return evaluation if isinstance(evaluation, EvaluationRecord) else EvaluationRecord.read(evaluation)
