"""What every log line says of each domain: reward, accuracy, length, truncation, share of the batch, errors."""

from __future__ import annotations

import torch

from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts


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
