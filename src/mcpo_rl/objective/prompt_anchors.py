"""Anchors that are prompts: a prompt's correct rollouts become one row, so that each prompt counts once.

    h_q = mean over the n_q usable correct rollouts i of prompt q of h_i,        dL/dh_i = (dL/dh_q) / n_q

All other rollouts stay rows of their own. What comes out is a pool like any other.

Axes: N rollouts of the pool, M rows of the smaller one, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mcpo_rl.objective.pool import RolloutPool


@dataclass(frozen=True, kw_only=True, eq=False)
class MergedPool:
    """A pool of M rows, and which of them each of the N rollouts went into."""

    pool: RolloutPool
    """In the order of the first rollout of each row."""
    row_of: Tensor
    """(N,) int64: the row of each rollout."""
    sizes: Tensor
    """(M,) int64: the number of rollouts of each row."""
    first: Tensor
    """(M,) int64: the first rollout of each row."""

    def divided(self, gradients: Tensor) -> Tensor:
        """(M, d) gradients on the rows -> (N, d) gradients on the rollouts."""
        return (gradients / self.sizes[:, None])[self.row_of]

    def rollouts(self, rows: Tensor) -> Tensor:
        """(M, k) rows of the smaller pool -> (N, k) rollouts that stand for them; -1 stays."""
        return torch.where(rows >= 0, self.first[rows.clamp(min=0)], -1)[self.row_of]


def merge_prompts(pool: RolloutPool) -> MergedPool:
    """Put the usable correct rollouts of each prompt (in each domain) together; differentiable in the features.

    Example:
        >>> pool = RolloutPool(
        ...     features=torch.tensor([[1.0], [5.0], [3.0], [7.0]]), domains=torch.tensor([0, 0, 0, 1]),
        ...     prompts=torch.tensor([0, 0, 0, 1]), correct=torch.tensor([True, False, True, True]),
        ... )
        >>> merge_prompts(pool).pool.features.flatten().tolist()
        [2.0, 5.0, 7.0]
    """
    n = len(pool)
    numbers = torch.arange(n, device=pool.device)
    (_, domain), (prompts, prompt) = (torch.unique(x, return_inverse=True) for x in (pool.domains, pool.prompts))
    merged = domain * len(prompts) + prompt
    alone = n * (n + 1) + numbers  # above them: there are at most n domains and n prompts
    _, group, sizes = torch.unique(torch.where(pool.anchors, merged, alone), return_inverse=True, return_counts=True)
    by_group = group.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    order = by_group[starts].argsort()  # groups by their first rollout
    place = torch.empty_like(order)
    place[order] = numbers[: len(order)]
    wide = pool.features.to(torch.promote_types(pool.features.dtype, torch.float32))
    # Sums over bags of rows, which, unlike index_add, are deterministic on a GPU.
    sums = F.embedding_bag(by_group, wide, starts, mode="sum")[order]
    sizes, first = sizes[order], by_group[starts][order]
    rows = RolloutPool(
        features=sums / sizes[:, None],
        domains=pool.domains[first],
        prompts=pool.prompts[first],
        correct=pool.correct[first],
        usable=pool.usable[first],
    )
    return MergedPool(pool=rows, row_of=place[group], sizes=sizes, first=first)
