"""Forgetting over evaluations that lie on disk: those of one run, or of runs that go on from each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.sections.effects import by_problem
from mcpo_rl.errors import ProblemError
from mcpo_rl.scores import EvaluationRecord
from mcpo_rl.scores.forgetting import ForgettingWatch, Standing


def standings(evaluations: Sequence[EvaluationRecord]) -> list[dict[str, Standing]]:
    """Return how each domain stood at each evaluation, against the best one before it.

    Args:
        evaluations: of one model as it was trained, in order, on the same problems: before and after a run, or after
            each stage of a sequence of runs.

    Raises:
        ProblemError: They were made on different problems.
    """
    if len({frozenset((score.domain, score.key) for score in one.scores) for one in evaluations}) > 1:
        raise ProblemError(
            "The evaluations were made on different problems, so none tells what was forgotten since another. Evaluate "
            "on the same set."
        )
    watch = ForgettingWatch()
    return [watch.observe(place, _rates(one)) for place, one in enumerate(evaluations)]


def of_run(run: RunData) -> dict[str, Standing]:
    """Return how each domain stands at the end of a run, against its start; empty without both evaluations.

    What was measured during training is in the metrics `forgetting/<domain>` and `forgetting_alarm/<domain>`.
    """
    if run.start is None or run.end is None:
        return {}
    try:
        return standings([run.start, run.end])[-1]
    except ProblemError:
        return {}


def _rates(record: EvaluationRecord) -> dict[str, dict[str, float]]:
    rates: dict[str, dict[str, float]] = defaultdict(dict)
    for (domain, key, occurrence), score in by_problem(record.scores).items():
        if score.scored:
            rates[domain][f"{key}/{occurrence}"] = score.correct / score.scored
    return rates
