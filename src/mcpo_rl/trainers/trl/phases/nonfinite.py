"""Features and gradients that are NaN or infinite: one bad rollout is data, more of it is a policy that is breaking.

Axes: N rollouts of a pool, rank by rank; B of them on each rank.
"""

from __future__ import annotations

import math
from collections import deque

from torch import Tensor

from mcpo_rl.errors import NonfiniteError

WINDOW = 1000
"""Rollouts that the latest pools must hold together before older ones are forgotten."""
SHARE = 0.01
"""Of the rollouts in the window: more non-finite ones than this end the training."""

_SHOWN = 5


class NonfiniteWindow:
    """Counts non-finite rollouts over the latest pools that together hold at least `WINDOW` rollouts.

    One bad rollout is left out and training goes on. Training ends when they number more than
    max(1, `SHARE` of the rollouts in the window): at the second one in a row of small pools, or at a pool that is bad
    as a whole. Every rank counts the same pool, so all of them come to the same decision.
    """

    def __init__(self) -> None:
        self._pools: deque[tuple[int, int]] = deque()  # (rollouts, non-finite ones), the latest last

    @property
    def rollouts(self) -> int:
        """Rollouts in the window."""
        return sum(rollouts for rollouts, _ in self._pools)

    @property
    def nonfinite(self) -> int:
        """Those of them whose features were NaN or infinite."""
        return sum(nonfinite for _, nonfinite in self._pools)

    @property
    def too_many(self) -> bool:
        """Whether training should end."""
        return self.nonfinite > max(1.0, SHARE * self.rollouts)

    def observe(self, rollouts: int, nonfinite: int) -> None:
        """Take in one pool, and forget the oldest ones that the window can do without."""
        self._pools.append((rollouts, nonfinite))
        while self.rollouts - self._pools[0][0] >= WINDOW:
            self._pools.popleft()

    def state_dict(self) -> list[list[int]]:
        """Return what a checkpoint keeps."""
        return [list(pool) for pool in self._pools]

    def load_state_dict(self, state: list[list[int]]) -> None:
        """Go on from `state_dict`'s values."""
        self._pools = deque((rollouts, nonfinite) for rollouts, nonfinite in state)


def too_many_nonfinite(
    window: NonfiniteWindow, nonfinite: Tensor, prompts: Tensor, *, ranks: int, global_step: int
) -> NonfiniteError:
    """Return the error that ends the training.

    Args:
        window: after the pool was taken in.
        nonfinite: (N,) bool, of the latest pool.
        prompts: (N,) int64, the numbers that name the prompts in the run's rollouts (`prompt_id`).
        ranks: that the pool was gathered from.
        global_step: optimizer steps done.
    """
    rows = nonfinite.nonzero().flatten()
    each = len(nonfinite) // ranks
    counts = {rank: int((rows // each == rank).sum()) for rank in range(ranks)} if each else {}
    places = ", ".join(f"{count} from rank {rank}" for rank, count in counts.items() if count)
    numbers = list(dict.fromkeys(prompts[rows].tolist()))
    named = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
    if bool(nonfinite.all()):
        advice = (
            "Not one rollout is finite, so the model's weights have most likely become NaN: go back to a checkpoint "
            f"from before step {global_step} (remove the later ones, then resume), with a lower learning_rate, and "
            "bf16 or fp32 instead of fp16."
        )
    else:
        advice = (
            "Lower learning_rate, use bf16 instead of fp16 (or load the model in float32), and look at these prompts' "
            f"rollouts (prompt_id {named})."
        )
    return NonfiniteError(
        f"Step {global_step}: the hidden states of {len(rows)} of {len(nonfinite)} rollouts are NaN or infinite "
        f"({places}), {window.nonfinite} of the last {window.rollouts}; training ends above max(1, {SHARE:.0%}). "
        f"{advice}"
    )


def check_policy_gradient(norm: float, *, global_step: int, scaled: bool) -> None:
    """Refuse a policy gradient on h that would make every weight NaN, at the end of its backward pass.

    Args:
        norm: over all ranks, so that all of them come to the same decision.
        global_step: optimizer steps done.
        scaled: whether the engine scales its loss (fp16): it then passes over such a step and lowers the scale.

    Raises:
        NonfiniteError: it is NaN or infinite.
    """
    if scaled or math.isfinite(norm):
        return
    raise NonfiniteError(
        f"The policy's gradient of the step after step {global_step} is NaN or infinite; taken, it would make every "
        "weight NaN. Look at the rewards and the loss of the steps before; lower learning_rate or set max_grad_norm, "
        "and use bf16 instead of fp16 (or load the model in float32). The checkpoints that are there are not affected."
    )
