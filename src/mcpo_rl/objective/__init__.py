"""The method and nothing else: a pool of rollouts in; a loss, metrics and one gradient per rollout out.

It needs torch only. The mathematics is in docs/method.md. `pool` holds the rollouts, `transferability` scores them,
`positives` chooses by the scores, `pairs` says which rollouts meet in the losses, `contrastive` computes these,
`metrics` measures, `head` maps pooled hidden states to compact representations, and `objective` holds them together
with the state that lives from step to step.
"""

from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.contrastive import contrastive_loss
from mcpo_rl.objective.head import ContrastiveHead
from mcpo_rl.objective.objective import ContrastiveObjective, ContrastiveStep
from mcpo_rl.objective.pool import RolloutPool, pool_hidden_states

__all__ = [
    "ContrastiveConfig",
    "ContrastiveHead",
    "ContrastiveObjective",
    "ContrastiveStep",
    "RolloutPool",
    "contrastive_loss",
    "pool_hidden_states",
]
