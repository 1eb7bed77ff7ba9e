"""The objective with the state that lives from step to step: the head, its optimizer and the scorer's randomness.

Axes: N rollouts of the pool, d features, m head width, k positives per anchor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError, PoolError
from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.contrastive import contrastive_terms
from mcpo_rl.objective.head import ContrastiveHead
from mcpo_rl.objective.head_pass import HeadPass
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.prompt_anchors import MergedPool, merge_prompts


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastiveStep:
    """What a pool gave. All tensors are detached; they belong to the head as it was before its update."""

    loss: Tensor
    """L = share_weight * L_share + consolidate_weight * L_cons, a scalar."""
    metrics: dict[str, float]
    """See docs/method.md."""
    feature_grads: Tensor
    """g (N, d) in the objective's dtype: dL/dh_i, zero for a rollout without a part in L."""
    positives: Tensor
    """(N, k) int64: P(i) as row numbers of the pool, best first, -1 where there is none."""
    positive_scores: Tensor
    """(N, k): t_ij of these positives, 0 where there is none."""
    embeddings: Tensor
    """z (N, m) of unit rows."""
    config: ContrastiveConfig
    """The settings by which the pairs were chosen and weighed."""


class ContrastiveObjective:
    """Pool in; loss, metrics and one gradient per rollout out; the head learns on the way.

    The same pools give the same numbers on every rank: nothing here draws from the global random state, so ranks that
    see the whole pool need no communication.

    Args:
        feature_dim: d, the width of the pooled hidden states.
        config: settings of the losses; the defaults if left out.
        hidden_dim: width of the head's hidden layer.
        embedding_dim: m, the width of the representation.
        learning_rate: of the head's AdamW, > 0.
        weight_decay: of the head's AdamW, >= 0.
        seed: of the head's parameters and of the scorer `random`.
        device: of the head; pools have to be there.
        dtype: float32, or float64 for exact tests. Features of another dtype are converted.

    Raises:
        ConfigError: a value that cannot work.

    Example:
        >>> objective = ContrastiveObjective(feature_dim=8)
        >>> pool = RolloutPool(
        ...     features=torch.randn(6, 8), domains=torch.tensor([0, 0, 0, 1, 1, 1]),
        ...     prompts=torch.tensor([0, 0, 0, 1, 1, 1]), correct=torch.tensor([True, True, False] * 2),
        ... )
        >>> objective.step(pool).feature_grads.shape
        torch.Size([6, 8])
    """

    def __init__(
        self,
        feature_dim: int,
        config: ContrastiveConfig | None = None,
        *,
        hidden_dim: int = 256,
        embedding_dim: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ConfigError(f"ContrastiveObjective.dtype is {dtype}; expected torch.float32 or torch.float64.")
        if not learning_rate > 0 or not weight_decay >= 0:
            raise ConfigError(
                f"ContrastiveObjective got learning_rate={learning_rate!r}, "
                f"weight_decay={weight_decay!r}; expected > 0 and >= 0."
            )
        self.config = config if config is not None else ContrastiveConfig()
        self.head = ContrastiveHead(
            feature_dim, hidden_dim=hidden_dim, embedding_dim=embedding_dim, seed=seed, dtype=dtype, device=device
        )
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.steps = 0
        """Pools that `step` has seen."""
        self._generator = torch.Generator().manual_seed(seed + 1)

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return self.head.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the head, the losses and the feature gradients."""
        return self.head.dtype

    def step(self, pool: RolloutPool) -> ContrastiveStep:
        """Compute the loss of a pool and its gradients, then update the head.

        Where every gradient is exactly 0 (the term has no part) the head is left as it is: no weight decay, no
        momentum.

        Args:
            pool: N rollouts with features (N, d); their dtype may be any floating one.

        Raises:
            PoolError: features of another width than `feature_dim`, or a pool on another device.
        """
        result, head_grads = self._differentiate(pool, self._generator)
        self.steps += 1
        if head_grads:
            with torch.inference_mode(False):
                for parameter, gradient in zip(self.head.parameters(), head_grads, strict=True):
                    parameter.grad = gradient
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        return result

    def evaluate(self, pool: RolloutPool) -> ContrastiveStep:
        """Return what `step` would return now and change nothing: not the head, not the scorer's random state."""
        return self._differentiate(pool, self._generator.clone_state())[0]

    def _differentiate(
        self, pool: RolloutPool, generator: torch.Generator
    ) -> tuple[ContrastiveStep, tuple[Tensor, ...]]:
        """Return the step and the head's gradients; these are left out where all of them are 0."""
        self._check(pool)
        merged = merge_prompts(pool) if self.config.anchors == "prompt" else None
        rows = pool if merged is None else merged.pool
        # Engines call this from no_grad, inference_mode or autocast.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            head = HeadPass(self.head, rows.features.detach())
            terms = contrastive_terms(head.embeddings, rows, self.config, generator)
            gradient = torch.autograd.grad(terms.loss, head.embeddings)[0]
            feature_grads, head_grads = head.backward(gradient)
        result = ContrastiveStep(
            loss=terms.loss.detach(),
            metrics=terms.metrics,
            feature_grads=feature_grads,
            positives=terms.positives,
            positive_scores=terms.positive_scores,
            embeddings=head.embeddings.detach(),
            config=self.config,
        )
        return result if merged is None else _of_rollouts(result, merged), head_grads

    def _check(self, pool: RolloutPool) -> None:
        if pool.feature_dim != self.head.feature_dim:
            raise PoolError(
                f"The pool's features have width {pool.feature_dim}, the head was made for {self.head.feature_dim}: "
                "pass feature_dim=the model's hidden size (of the layer that is pooled)."
            )
        if pool.device != self.device:
            raise PoolError(f"The pool is on {pool.device}, the head on {self.device}; use pool.to(objective.device).")

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `step` depends on, made of tensors and plain values (loads with weights_only=True)."""
        return {
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "steps": self.steps,
            "widths": self._widths(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            ConfigError: the state is of a head with other widths, or not of a ContrastiveObjective.
        """
        missing = [key for key in ("head", "optimizer", "generator", "steps", "widths") if key not in state]
        if missing:
            raise ConfigError(f"Not the state of a ContrastiveObjective: {', '.join(missing)} missing.")
        for name, width in self._widths().items():
            if state["widths"].get(name) != width:
                raise ConfigError(
                    f"The saved contrastive head has {name} {state['widths'].get(name)}, this one {width}: make the "
                    f"objective with {name}={state['widths'].get(name)}, or start without the saved state."
                )
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())
        self.steps = int(state["steps"])

    def _widths(self) -> dict[str, int]:
        head = self.head
        return {
            "feature_dim": head.feature_dim,
            "hidden_dim": head.hidden_dim,
            "embedding_dim": head.embedding_dim,
        }


def _of_rollouts(step: ContrastiveStep, merged: MergedPool) -> ContrastiveStep:
    """Return what the rows of a merged pool gave, for each of its rollouts; the first one stands for its prompt."""
    return replace(
        step,
        feature_grads=merged.divided(step.feature_grads),
        positives=merged.rollouts(step.positives),
        positive_scores=step.positive_scores[merged.row_of],
        embeddings=step.embeddings[merged.row_of],
    )
