"""How strongly the contrastive term pulls: its weight, and the measurement of both gradients on h that it rests on.

Axes: B rows of a micro-batch, T tokens of prompt and completion, C of the completion, d features, N pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DECAY = 0.9
"""Of the running mean of the policy's gradient norm: it looks back over about ten optimizer steps."""


class Strength:
    """w(step), the factor on the contrastive loss.

    A fixed `coef` gives w = schedule x coef. Relative strength (`coef` None) gives

        w = schedule x ratio x running mean of ||G_policy|| / ||G_contrastive at weight 1||

    where both norms are Frobenius norms of the gradients on the pooled hidden states of the rollouts of one optimizer
    step. Before the first measurement (the first step of a run) w is 0. Norms of 0 (all advantages equal) and
    non-finite ones are left out of the mean. The schedule rises linearly to 1 and, with `decay_steps`, falls linearly
    to 0 after it.

    Args:
        coef: `contrastive_coef`; None for relative strength.
        ratio: `contrastive_grad_ratio`.
        warmup_steps: `contrastive_warmup_steps`.
        decay_steps: `contrastive_decay_steps`; None: no fall.
    """

    def __init__(self, *, coef: float | None, ratio: float, warmup_steps: int, decay_steps: int | None = None) -> None:
        self.coef, self.ratio, self.warmup_steps, self.decay_steps = coef, ratio, warmup_steps, decay_steps
        self._decayed_sum = 0.0
        self._observations = 0

    @property
    def policy_norm(self) -> float | None:
        """The running mean of the policy's gradient norm; None before the first measurement."""
        if self._observations == 0:
            return None
        return self._decayed_sum / (1 - DECAY**self._observations)

    def observe(self, policy_norm: float) -> None:
        """Take in the norm measured over one optimizer step."""
        if math.isfinite(policy_norm) and policy_norm > 0:
            self._decayed_sum = DECAY * self._decayed_sum + (1 - DECAY) * policy_norm
            self._observations += 1

    def weight(self, contrastive_norm: float, step: int) -> float:
        """Return w after `step` optimizer steps, where the contrastive gradient at weight 1 has `contrastive_norm`."""
        schedule = self._schedule(step)
        if self.coef is not None:
            return schedule * self.coef
        if self.policy_norm is None or not contrastive_norm > 0 or not math.isfinite(contrastive_norm):
            return 0.0
        return schedule * self.ratio * self.policy_norm / contrastive_norm

    def _schedule(self, step: int) -> float:
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps > 0 else 1.0
        past = step + 1 - max(self.warmup_steps, 1)  # steps since the first one at full strength
        if self.decay_steps is None or past <= 0:
            return warmup
        return max(0.0, 1.0 - past / self.decay_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"decayed_sum": self._decayed_sum, "observations": self._observations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s values."""
        self._decayed_sum, self._observations = float(state["decayed_sum"]), int(state["observations"])


class GradientMeter:
    """Sums squared gradient norms on h over the micro-batches of one optimizer step, without waiting for the device.

    The policy's gradient on h_i is the sum of dL_policy/dH_t over the tokens t of completion i: how the policy loss
    answers when all of them move together, as they do when h_i moves. Both norms are in the units that reach the
    parameters: after the average over ranks and over accumulation, before gradient clipping.
    """

    def __init__(self, device: torch.device) -> None:
        self._squares = torch.zeros(2, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)

    def policy_hook(self, mask: Tensor, factor: float) -> Callable[[Tensor], None]:
        """Return a hook for the gradient (B, T, d) on the hidden states.

        Args:
            mask: (B, C), nonzero at the tokens that count.
            factor: from the units of this backward pass to those that reach the parameters.
        """

        def measure(gradient: Tensor) -> None:
            part = gradient.detach()[:, -mask.shape[1] :]
            per_rollout = torch.einsum("bcd,bc->bd", part, (mask != 0).to(part.dtype)).to(self._squares.dtype)
            self._squares[0] += (per_rollout * factor).square().sum()

        return measure

    def add_contrastive(self, gradients: Tensor) -> None:
        """Add the contrastive gradients (B, d) on h, in the units that reach the parameters."""
        self._squares[1] += gradients.to(self._squares.dtype).square().sum()

    def read(self, reduce: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """Return (policy norm, contrastive norm) over all ranks, and start anew."""
        policy, contrastive = reduce(self._squares.clone()).sqrt().tolist()
        self._squares.zero_()
        return policy, contrastive
