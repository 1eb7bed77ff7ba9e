"""What every log line says of each domain: reward, accuracy, length, truncation, share of the batch, errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScoredRollouts:
    """The rollouts of all ranks, as scored. N rollouts, rank by rank."""

    domains: Tensor
    """(N,) int64, numbers of a `DomainIndex`."""
    prompts: Tensor
    """(N,) int64: rollouts of one prompt share one number."""
    rewards: Tensor
    """(N,) float32, weighted and summed over the reward functions as TRL logs it; NaN where none could score."""
    lengths: Tensor
    """(N,) int64, tokens of the completion."""
    truncated: Tensor
    """(N,) bool: cut off before an end token, as TRL decides it."""


def domain_metrics(rollouts: ScoredRollouts, names: list[str], correct_threshold: float) -> dict[str, float]:
    """Return `domain/<name>/<metric>` for each domain: reward, accuracy, completion_length, truncated, share, error.

    `reward` and `accuracy` are means over the scored rollouts (an unscored one is neither right nor wrong) and left out
    where there are none; `error` is the share of the domain's rollouts that no reward function could score. A domain
    without a rollout in this batch has only its share, 0.
    """
    metrics: dict[str, float] = {}
    for number, name in enumerate(names):
        of_domain = rollouts.domains == number
        count = int(of_domain.sum())
        metrics[f"domain/{name}/share"] = count / max(len(rollouts.domains), 1)
        if count == 0:
            continue
        rewards = rollouts.rewards[of_domain]
        scored = rewards[~torch.isnan(rewards)]
        if len(scored):
            metrics[f"domain/{name}/reward"] = scored.mean().item()
            metrics[f"domain/{name}/accuracy"] = (scored >= correct_threshold).float().mean().item()
        metrics[f"domain/{name}/completion_length"] = rollouts.lengths[of_domain].float().mean().item()
        metrics[f"domain/{name}/truncated"] = rollouts.truncated[of_domain].float().mean().item()
        metrics[f"domain/{name}/error"] = 1 - len(scored) / count
    return metrics
