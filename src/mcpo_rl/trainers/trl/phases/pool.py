"""The pool phase: one pool over all ranks, one update of the head, one gradient for each of this rank's rollouts.

Axes: N rollouts of the pool (all ranks), B of them on this rank, d features.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from mcpo_rl.objective import ContrastiveObjective, ContrastiveStep, RolloutPool
from mcpo_rl.trainers.trl.arguments import ContrastiveArguments
from mcpo_rl.trainers.trl.phases.nonfinite import NonfiniteWindow, too_many_nonfinite
from mcpo_rl.trainers.trl.phases.strength import Strength
from mcpo_rl.trainers.trl.rollouts.scoring import JudgedRollouts

logger = logging.getLogger(__name__)

DRIFT_CHECK_EVERY = 50
"""Pools between two comparisons of the head over the ranks: non-deterministic kernels could let the copies part."""


@dataclass(frozen=True, kw_only=True)
class PoolOutcome:
    """What the pool phase hands to the policy phase and to the log."""

    pool: RolloutPool
    """All N rollouts."""
    step: ContrastiveStep
    """Loss, gradients, positives and embeddings of the pool."""
    gradients: Tensor
    """(B, d): w * dL/dh of this rank's rollouts, in their order before TRL shuffles them."""
    weighted_loss: Tensor
    """Scalar w * L."""
    metrics: dict[str, float]
    """For the log, with their full names."""


def gather_pool(
    accelerator: Accelerator, features: Tensor, present: Tensor, rollouts: JudgedRollouts, correct_threshold: float
) -> tuple[RolloutPool, Tensor]:
    """Make the pool of all ranks.

    A rollout is usable if it was scored, its completion is not masked away, and its features are finite.

    Args:
        accelerator: of the trainer.
        features: (B, d), this rank's.
        present: (B,) bool: the completion has at least one token that counts.
        rollouts: of all ranks, rank by rank.
        correct_threshold: on the reward.

    Returns:
        The pool, and (N,) bool: whether a rollout's features were NaN or infinite (they are 0 in the pool) although
        it has tokens to take them from.
    """
    features = accelerator.gather(features)
    present = accelerator.gather(present.long()).bool()
    # By rows alone: a mask of all (N, d) values would be a quarter of the pool again.
    lowest, highest = features.aminmax(dim=1)
    finite = torch.isfinite(lowest) & torch.isfinite(highest)
    if not bool(finite.all()):
        features = features.masked_fill(~finite[:, None], 0.0)
    pool = RolloutPool(
        features=features,
        domains=rollouts.domains,
        prompts=rollouts.prompts,
        correct=rollouts.rewards >= correct_threshold,  # NaN is not
        usable=present & finite & ~torch.isnan(rollouts.rewards),
    )
    return pool, present & ~finite


class PoolPhase:
    """Holds what lives from pool to pool: objective (with the head), strength, count of non-finite rollouts.

    Args:
        args: the trainer's configuration.
        accelerator: of the trainer.
        feature_dim: d.
        dtype: float32, or float64 where the policy is float64.
        correct_threshold: a rollout is correct from this reward on.
        pools_per_step: how many pools, or which part of one, the rollouts of an optimizer step are.
    """

    def __init__(
        self,
        args: ContrastiveArguments,
        accelerator: Accelerator,
        feature_dim: int,
        dtype: torch.dtype,
        *,
        correct_threshold: float,
        pools_per_step: float,
    ) -> None:
        self._accelerator = accelerator
        self._correct_threshold, self._pools_per_step = correct_threshold, pools_per_step
        self.objective = ContrastiveObjective(
            feature_dim,
            args.contrastive_config(),
            hidden_dim=args.head_hidden_dim or feature_dim,
            embedding_dim=args.head_dim,
            learning_rate=args.head_learning_rate,
            seed=args.head_seed,
            device=accelerator.device,
            dtype=dtype,
        )
        self.strength = Strength(
            coef=args.contrastive_coef,
            ratio=args.contrastive_grad_ratio,
            warmup_steps=args.contrastive_warmup_steps,
            decay_steps=args.contrastive_decay_steps,
        )
        self.nonfinite = NonfiniteWindow()

    def run(
        self, features: Tensor, present: Tensor, rollouts: JudgedRollouts, domain_names: list[str], global_step: int
    ) -> PoolOutcome:
        """Compute the loss on the pool of all ranks, update the head, and weigh the gradients.

        Every rank computes the same numbers from the same pool; see `gather_pool` for the arguments.

        Raises:
            NonfiniteError: too many features are NaN or infinite (`NonfiniteWindow`); on every rank at once.
        """
        pool, nonfinite = gather_pool(self._accelerator, features, present, rollouts, self._correct_threshold)
        self._count_nonfinite(nonfinite, rollouts, global_step)
        step = self.objective.step(pool)
        if self._accelerator.num_processes > 1 and self.objective.steps % DRIFT_CHECK_EVERY == 0:
            self.realign()
        # An optimizer step sees pools_per_step pools (or a part of one), each scaled by 1 / pools_per_step in the
        # policy phase; squared norms add up over the rollouts of the step, so the norm over them has this factor.
        norm = step.feature_grads.norm().item() / self._pools_per_step**0.5
        weight = self.strength.weight(norm, global_step)
        count = len(features)
        first = self._accelerator.process_index * count
        metrics = {f"contrastive/{name}": value for name, value in _with_names(step.metrics, domain_names).items()}
        metrics |= {
            "contrastive/loss": step.loss.item(),
            "contrastive/weight": weight,
            "contrastive/nonfinite_features": float(nonfinite.sum()),
        }
        return PoolOutcome(
            pool=pool,
            step=step,
            gradients=weight * step.feature_grads[first : first + count],
            weighted_loss=weight * step.loss,
            metrics=metrics,
        )

    def _count_nonfinite(self, nonfinite: Tensor, rollouts: JudgedRollouts, global_step: int) -> None:
        self.nonfinite.observe(len(nonfinite), int(nonfinite.sum()))
        if self.nonfinite.too_many:
            ranks = self._accelerator.num_processes
            raise too_many_nonfinite(self.nonfinite, nonfinite, rollouts.prompts, ranks=ranks, global_step=global_step)

    def realign(self) -> bool:
        """Compare the head over the ranks; where they differ, take rank 0's. Return whether they differed."""
        parameters = list(self.objective.head.parameters())
        checksum = torch.stack([parameter.detach().double().sum() for parameter in parameters]).sum()
        everyone = self._accelerator.gather(checksum[None])
        if bool((everyone == everyone[0]).all()):
            return False
        logger.warning(
            "The contrastive head differs between ranks (non-deterministic kernels); taking rank 0's everywhere."
        )
        state = [self.objective.state_dict()]
        self.objective.load_state_dict(broadcast_object_list(state, from_process=0)[0])
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "objective": self.objective.state_dict(),
            "strength": self.strength.state_dict(),
            "nonfinite": self.nonfinite.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s values. Raises `ConfigError` for a head of another width."""
        self.objective.load_state_dict(state["objective"])
        self.strength.load_state_dict(state["strength"])
        self.nonfinite.load_state_dict(state["nonfinite"])


def _with_names(metrics: dict[str, float], domain_names: list[str]) -> dict[str, float]:
    """Put domain names in the place of their numbers in `borrow/<to>/<from>`."""
    named = {}
    for key, value in metrics.items():
        kind, *numbers = key.split("/")
        if kind == "borrow":
            key = "/".join([kind, *(domain_names[int(number)] for number in numbers)])
        named[key] = value
    return named
