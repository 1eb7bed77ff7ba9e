"""The policy phase: <h_i, g_i> joins the policy loss of each micro-batch, and the policy's gradient on h is measured.

Axes: B rollouts of a micro-batch, T tokens of prompt and completion, C tokens of the completion, d features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl.features.hidden_states import HiddenStateTap, pool_completion
from mcpo_rl.trainers.trl.phases.strength import GradientMeter


@dataclass(frozen=True, kw_only=True)
class ContrastivePart:
    """What the pool phase gives one micro-batch, and in which units it is to be added."""

    pool: Callable[[Tensor], tuple[Tensor, Tensor]]
    """h (B, d) of this micro-batch's training pass -> w * dL/dh_i (B, d) on the pool of all ranks, and the scalar w * L
    for the log. Where the pool phase came before, h is not looked at; where it waited for this pass, it runs here."""
    share: float
    """How much of the pool's gradient one rollout of an optimizer step stands for: pools' rollouts over the step's."""
    accumulation: int
    """Micro-batches of the optimizer step."""
    scaled: bool
    """Whether the policy loss is already divided by `accumulation` (the engine divides it afterwards if not)."""


class PolicyPhase:
    """Adds the contrastive part to policy losses, and counts that it did.

    Args:
        accelerator: of the trainer.
        pooling: `mean`, `last` or `lines`.
    """

    def __init__(self, accelerator: Any, pooling: str) -> None:
        self._accelerator, self._pooling = accelerator, pooling
        self._meter = GradientMeter(accelerator.device)
        self._attached = 0

    def loss(self, policy_loss: Callable[[], Tensor], module: nn.Module, mask: Tensor, part: ContrastivePart) -> Tensor:
        """Return the policy loss plus a term with the gradient of w * L on this micro-batch's rollouts.

        Args:
            policy_loss: runs the training forward pass and returns TRL's loss.
            module: from `find_feature_module`; the pass has to go through it once.
            mask: (B, C), from `TokenWeights`: the tokens that count; the last C of the T positions.
            part: what to add.

        Raises:
            RuntimeError: the pass did not go through `module` once.
            ConfigError: nothing trained lies below it.
        """
        hidden_states: list[Tensor] = []
        scaler = getattr(self._accelerator, "scaler", None)
        loss_scale = scaler.get_scale() if scaler is not None else 1.0
        measure = self._meter.policy_hook(mask, 1 / (loss_scale * self._accelerator.num_processes))

        def split(hidden: Tensor) -> Tensor | None:
            if not torch.is_grad_enabled():
                return None  # a reference's pass: with LoRA it is the same module, its weights switched off
            # Behind the view there is the policy loss alone; <h, g> is attached in front of it.
            hidden_states.append(hidden)
            view = hidden.view_as(hidden)
            if view.requires_grad:
                view.register_hook(measure)  # type: ignore[no-untyped-call]
            return view

        with HiddenStateTap(module, split):
            loss = policy_loss()
        if len(hidden_states) != 1:
            raise RuntimeError(
                f"The training forward pass went through the backbone {len(hidden_states)} times (once was expected), "
                "so the contrastive gradient cannot reach the policy. This version of TRL, transformers or PEFT calls "
                "the model in another way; contrastive_coef=0 trains without the contrastive term."
            )
        if not hidden_states[0].requires_grad:
            raise ConfigError(
                "Nothing that is trained lies below the hidden states that the contrastive term reads, so it would "
                "change nothing. Set feature_layer to a layer at or above the lowest trained one (-1 is the last "
                "hidden state), or contrastive_coef=0."
            )
        self._attached += 1
        return loss + self._inner_product(hidden_states[0], mask, part)

    def _inner_product(self, hidden: Tensor, mask: Tensor, part: ContrastivePart) -> Tensor:
        """Return a scalar with the gradient of w * L and, over the micro-batches of a step, the value w * L."""
        features = pool_completion(hidden, mask.to(hidden.device), self._pooling)
        of_pool, weighted_loss = part.pool(features.detach())
        gradients = of_pool.to(features.device, features.dtype)
        self._meter.add_contrastive(gradients * part.share)
        later = 1 if part.scaled else part.accumulation  # what the engine still divides by
        # Every engine averages gradients over the ranks; each rollout is on one of them.
        inner_product = (features * gradients).sum() * (part.share * self._accelerator.num_processes * later)
        value = weighted_loss.to(features.device, features.dtype) * (later / part.accumulation)
        added: Tensor = inner_product - inner_product.detach() + value
        return added

    def begin_micro_step(self) -> None:
        """Take note that a micro-batch is about to be trained on."""
        self._attached = 0

    def end_micro_step(self) -> None:
        """Check that the contrastive part was added once since `begin_micro_step`.

        Raises:
            RuntimeError: it was not: the run would silently be plain policy optimization.
        """
        if self._attached != 1:
            raise RuntimeError(
                f"The contrastive gradient was added {self._attached} times to the loss of a micro-batch (once was "
                "expected), so this run would not be the one that was asked for. This version of TRL computes its loss "
                "in another place, or no longer hands the rollouts' extra tensors on to it; contrastive_coef=0 trains "
                "without the contrastive term."
            )

    def read_norms(self) -> tuple[float, float]:
        """Return the norms (policy, contrastive) of the gradients on h over the last optimizer step, of all ranks."""
        return self._meter.read(lambda squares: self._accelerator.reduce(squares, reduction="sum"))
