"""What the rollout observers are handed: the rollouts of one generation batch, in plain Python and NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mcpo_rl.objective import ContrastiveConfig, ContrastiveStep, RolloutPool
from mcpo_rl.runs import RolloutBatch
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts


def completion_text(completion: Any) -> str:
    """Return the text of a completion: as it is, or the contents of its messages."""
    if isinstance(completion, str):
        return completion
    return "\n".join(str(message.get("content") or "") for message in completion)


def rollout_batch(
    *,
    step: int,
    logs: Mapping[str, Any],
    rollouts: ScoredRollouts,
    domain_names: list[str],
    pool: RolloutPool,
    contrastive: ContrastiveStep | None,
) -> RolloutBatch:
    """Put one generation batch together.

    Args:
        step: optimizer steps done before it was generated.
        logs: TRL's gathered log of completions; its last N entries are this batch's N rollouts.
        rollouts: the N rollouts as scored.
        domain_names: names of the domain numbers.
        pool: the N rollouts with their features.
        contrastive: what the objective made of them; None with the term off.
    """
    count = len(rollouts.domains)
    return RolloutBatch(
        step=step,
        prompts=list(logs["prompt"])[-count:],
        completions=[completion_text(completion) for completion in list(logs["completion"])[-count:]],
        domains=[domain_names[number] for number in rollouts.domains.tolist()],
        prompt_ids=rollouts.prompts.tolist(),
        rewards=[None if math.isnan(reward) else reward for reward in rollouts.rewards.tolist()],
        correct=pool.correct.tolist(),
        usable=pool.usable.tolist(),
        verdicts=_extra(logs, "verdict", count),
        answers=_extra(logs, "answer", count),
        details=_extra(logs, "detail", count),
        tokens=rollouts.lengths.tolist(),
        truncated=rollouts.truncated.tolist(),
        features=pool.features.float().cpu().numpy(),
        embeddings=None if contrastive is None else contrastive.embeddings.float().cpu().numpy(),
        positives=[] if contrastive is None else _lists(contrastive.positives),
        positive_scores=[] if contrastive is None else _scores(contrastive),
        term={} if contrastive is None else _settings(contrastive.config),
    )


def is_due(step: int, every: int, steps_per_batch: int) -> bool:
    """Whether a generation batch at `step` is the first at or after a multiple of `every`.

    Args:
        step: optimizer steps done.
        every: `log_rollouts_steps`; 0 is never.
        steps_per_batch: optimizer steps between two generation batches (at least 1).
    """
    return every > 0 and step % every < steps_per_batch


def _extra(logs: Mapping[str, Any], name: str, count: int) -> list[str]:
    """Return the last `count` values of a column that reward functions log; none where they do not, or not for each."""
    values = list(logs["extra"].get(name, ()))[-count:]
    return ["" if value is None else str(value) for value in values] if len(values) == count else []


def _lists(positives: Tensor) -> list[list[int]]:
    rows: Sequence[Sequence[int]] = positives.tolist()
    return [[row for row in chosen if row >= 0] for chosen in rows]


def _scores(contrastive: ContrastiveStep) -> list[list[float]]:
    chosen = (contrastive.positives >= 0).tolist()
    rows: Sequence[Sequence[float]] = contrastive.positive_scores.tolist()
    return [[score for score, is_one in zip(*row, strict=True) if is_one] for row in zip(rows, chosen, strict=True)]


def _settings(config: ContrastiveConfig) -> dict[str, Any]:
    """Return the settings as plain data; a callable by its name."""
    return {name: _named(value) if callable(value) else value for name, value in vars(config).items()}


def _named(scorer: Any) -> str:
    return getattr(scorer, "__qualname__", type(scorer).__qualname__)
