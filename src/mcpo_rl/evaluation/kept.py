"""An evaluation that is there already: whether it is the one asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcpo_rl.errors import RunError
from mcpo_rl.evaluation.evaluating import problem_key, settings_of
from mcpo_rl.evaluation.generators import Generator, Sampling
from mcpo_rl.evaluation.journal import FREE
from mcpo_rl.scores import EvaluationRecord
from mcpo_rl.types import Problem


def kept_evaluation(
    path: Path, generator: Generator, problems: Sequence[Problem], samples: int, sampling: Sampling
) -> EvaluationRecord | None:
    """Return the finished evaluation at `path` if it is of this model, these problems and settings; None if none is.

    Raises:
        RunError: `path` holds something else, which is not overwritten.
    """
    if not path.exists():
        return None
    record = EvaluationRecord.read(path)
    wanted = {"model": generator.model, **settings_of(generator, samples, sampling)}
    found = {"model": record.model, **record.settings}
    changed = [
        f"`{name}` was {found.get(name)!r:.80}, now {wanted.get(name)!r:.80}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name) and name not in FREE
    ]
    if [score.key for score in record.scores] != [problem_key(problem) for problem in problems]:
        changed.append(f"it has other problems ({len(record.scores)}; now {len(problems)})")
    if changed:
        raise RunError(
            f"{path} holds another evaluation: {'; '.join(changed)}. Give another --output, or --restart to replace it."
        )
    return record
