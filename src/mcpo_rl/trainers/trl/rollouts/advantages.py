"""The contrastive advantage: groups whose rewards are all equal learn from how their rollouts lie to other groups'.

Axes: N rollouts of all ranks, rank by rank; B of them on this rank.
"""

from __future__ import annotations

from typing import Any

import torch

from mcpo_rl.objective import RolloutPool
from mcpo_rl.objective.advantages import contrastive_advantages
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts


def give_contrastive_advantages(
    trainer: Any, batch: dict[str, Any], pool: RolloutPool, rollouts: ScoredRollouts
) -> dict[str, float]:
    """Put contrastive advantages, times their scale, into a batch in the place of those that the rewards left at 0.

    Every rank computes the same numbers from the same pool and takes its own.

    Args:
        trainer: an `MCPOTrainer`; TRL's log of completions is brought up to date too.
        batch: what TRL made of this rank's rollouts; its `advantages` (B,) are replaced.
        pool: the N rollouts with their features.
        rollouts: the same, as scored.

    Returns:
        The metrics, with their full names.
    """
    args = trainer.args
    asked = ~rollouts.informative
    if args.contrastive_advantage_groups != "both":
        asked = asked & (pool.correct == (args.contrastive_advantage_groups == "correct"))
    found = contrastive_advantages(pool, asked, trainer.num_generations)
    values = args.contrastive_advantage * found.values
    count, total = len(batch["advantages"]), len(pool)
    own = slice(trainer.accelerator.process_index * count, (trainer.accelerator.process_index + 1) * count)
    rewarded = batch["advantages"]
    batch["advantages"] = torch.where(found.given[own], values[own].to(rewarded.dtype), rewarded)
    logged = trainer._logs["advantages"]
    latest = [logged.pop() for _ in range(total)][::-1]
    is_given, new = found.given.tolist(), values.tolist()
    logged.extend(new[row] if is_given[row] else latest[row] for row in range(total))
    groups = found.given.view(-1, trainer.num_generations).any(dim=1)
    metrics = {"contrastive/advantage_groups": float(groups.sum())}
    if found.agreement == found.agreement:  # NaN: no group that has both
        metrics["contrastive/advantage_agreement"] = found.agreement
    return metrics
