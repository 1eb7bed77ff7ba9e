"""A pool phase that waits for a training forward pass, which gives the features of one micro-batch for nothing.

The gradients of a pool are needed when its first micro-batch goes back, not before: its own features can come from the
pass that it makes anyway, and only the other micro-batches need a pass ahead of their training. With one micro-batch
to a pool, there is no further pass at all.

Axes: B rollouts of this rank, b of them in a micro-batch, d features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mcpo_rl.trainers.trl.phases.pool import PoolOutcome


class AwaitedPool:
    """The micro-batches of a pool, until the first of them is trained on.

    Args:
        first: the micro-batch whose training pass comes next.
        others: the other micro-batches of the pool, on which that step or later ones train.
        rows: the name under which a micro-batch holds the numbers (b,) int64 of its rollouts in the pool's order,
            which TRL shuffles.
        read: gives the features of micro-batches, all together, at the weights of now.
        run: takes all features (B, d) of this rank, in the pool's order, and runs the pool phase.
    """

    def __init__(
        self,
        first: dict[str, Any],
        others: Sequence[dict[str, Any]],
        *,
        rows: str,
        read: Callable[[Sequence[dict[str, Any]]], Tensor],
        run: Callable[[Tensor], PoolOutcome],
    ) -> None:
        self._batches, self._rows, self._run = [first, *others], rows, run
        self._of_others = read(others) if others else None

    def end(self, features: Tensor) -> None:
        """Run the pool phase, and leave `contrastive_grads` and `contrastive_loss` in every micro-batch.

        Args:
            features: (b, d) of the first micro-batch, detached.
        """
        if self._of_others is not None:
            features = torch.cat([features, self._of_others.to(features.device, features.dtype)])
        order = torch.cat([batch[self._rows] for batch in self._batches]).argsort()
        outcome = self._run(features[order])
        for batch in self._batches:
            batch["contrastive_grads"] = outcome.gradients[batch[self._rows]]
            batch["contrastive_loss"] = outcome.weighted_loss
