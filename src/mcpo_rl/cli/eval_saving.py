"""One evaluation with progress, saved, and gone on with where it was stopped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcpo_rl.evaluation import EvaluationResult, Generator, Sampling
    from mcpo_rl.scores import EvaluationRecord
    from mcpo_rl.types import Problem


def evaluate_and_save(
    generator: Generator,
    problems: Sequence[Problem],
    samples: int,
    sampling: Sampling,
    output: Path | None,
    *,
    restart: bool = False,
    verify_workers: int | None = None,
    label: str = "evaluate",
    facts: Mapping[str, Any] | None = None,
) -> EvaluationRecord | None:
    """Evaluate with progress on stderr, print the table, and save; go on where an earlier attempt was stopped.

    Args:
        generator: The model.
        problems: What it is asked.
        samples: Completions drawn per problem.
        sampling: How they are drawn.
        output: Where the result goes (`.json`); None: nowhere, and nothing can be resumed.
        restart: Discard what `output` has already.
        verify_workers: As for `evaluate_with`.
        label: Of the progress.
        facts: What the result's `facts` keep besides.

    Returns:
        The evaluation; None where it was stopped by Ctrl-C.

    Raises:
        RunError: `output` holds another evaluation.
    """
    from mcpo_rl.cli.progress import evaluation_progress
    from mcpo_rl.evaluation import evaluate_with
    from mcpo_rl.evaluation.journal import journal_path
    from mcpo_rl.evaluation.kept import kept_evaluation

    journal = None if output is None else journal_path(output)
    if output is not None and restart:
        for path in (output, journal_path(output)):
            path.unlink(missing_ok=True)
    if output is not None and (kept := kept_evaluation(output, generator, problems, samples, sampling)):
        print(kept)
        print(f"already evaluated: {output} (--restart evaluates anew)")
        return kept
    if journal is not None and journal.is_file():
        print(f"{label}: goes on from {journal}", file=sys.stderr)
    result: EvaluationResult
    try:
        with evaluation_progress(label) as progress, evaluation_progress(f"{label}: judge") as judging:
            result = evaluate_with(
                generator,
                problems,
                samples=samples,
                sampling=sampling,
                journal=journal,
                verify_workers=verify_workers,
                progress=progress,
                judging=judging,
            )
    except KeyboardInterrupt:
        kept_at = f"; the same command goes on from {journal}" if journal is not None else ""
        print(f"mcpo-rl: stopped{kept_at}", file=sys.stderr)
        return None
    result = replace(result, facts={**result.facts, **(facts or {})})
    print(result)
    if output is not None and journal is not None:
        result.save(output)
        journal.unlink(missing_ok=True)
        print(f"written: {output}")
    return result
