"""Advantages for groups whose rewards are all equal, from what the other groups of the pool look like.

    a_i = mean over T(i) of t_ij - mean over W(i) of t_in
    T(i) = usable correct rollouts of other domains,  W(i) = usable incorrect rollouts of other prompts

with the centred cosine t of `transferability`: no head, so it means the same at the first step as at the last, and no
label of the rollout itself, of its group or of its prompt has a part in it. Both means are products with sums of unit
vectors, so nothing of the size N x N is made. Derived in docs/method.md.

Axes: N rollouts of the pool, d features, P groups of G rollouts each, in order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mcpo_rl.objective.metrics import group_sums
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.transferability import centered_features

EPSILON = 1e-4
"""Added to a group's standard deviation, as GRPO does: scores that hardly differ give small advantages."""


class ContrastiveAdvantages(NamedTuple):
    """What the asked groups of a pool got."""

    values: Tensor
    """(N,) float: standardized within the group; 0 where there is none."""
    given: Tensor
    """(N,) bool: the rollouts that have one."""
    agreement: float
    """Over the pairs of a correct and an incorrect rollout of one group: the share in which the correct one has the
    higher score (a tie counts half). 0.5 is chance; NaN where there is no such pair."""


def contrastive_advantages(pool: RolloutPool, asked: Tensor, group_size: int) -> ContrastiveAdvantages:
    """Score all rollouts, and standardize the scores of the asked groups.

    A group whose T or W is empty, or that has fewer than two usable rollouts, gets none.

    Args:
        pool: the N rollouts, group after group.
        asked: (N,) bool, the same within a group.
        group_size: G.

    Example:
        >>> pool = RolloutPool(
        ...     features=torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]), domains=torch.tensor([0, 0, 1, 1]),
        ...     prompts=torch.tensor([0, 0, 1, 1]), correct=torch.tensor([False, False, True, False]),
        ... )
        >>> contrastive_advantages(pool, torch.tensor([True, True, False, False]), 2).values.round(decimals=2)
        tensor([ 0.7100, -0.7100,  0.0000,  0.0000])
    """
    scores = transfer_scores(pool).view(-1, group_size)  # (P, G), NaN where there is none
    there = ~scores.isnan()
    count = there.sum(dim=1, keepdim=True)
    apart = (scores - scores.nanmean(dim=1, keepdim=True)).masked_fill(~there, 0)
    deviation = (apart.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    given = there & (count > 1) & asked.view(-1, group_size)
    values = (apart / (deviation + EPSILON)).masked_fill(~given, 0)
    return ContrastiveAdvantages(values.flatten(), given.flatten(), _agreement(scores, pool.correct.view_as(scores)))


def transfer_scores(pool: RolloutPool) -> Tensor:
    """(N,): a_i, without gradient; NaN for rollouts that are not usable or whose T or W is empty."""
    dtype = torch.float64 if pool.features.dtype == torch.float64 else torch.float32
    x = centered_features(pool, dtype)
    to_right, right = _mean_products(x, pool.anchors, pool.domains)
    to_wrong, wrong = _mean_products(x, pool.negatives, pool.prompts)
    return (to_right - to_wrong).masked_fill(~(pool.usable & right & wrong), math.nan)


def _mean_products(x: Tensor, members: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N,): the mean of x_i . x_j over the members j with another label than i; (N,) bool: whether there is one."""
    _, group = torch.unique(labels, return_inverse=True)
    rows = members.nonzero().flatten()
    sums, sizes = group_sums(x, rows, group[rows], int(group.max()) + 1 if len(group) else 0)
    number = (sizes.sum() - sizes)[group]
    others = (sums.sum(dim=0) - sums)[group]
    return torch.linalg.vecdot(x, others) / number.clamp(min=1), number > 0


def _agreement(scores: Tensor, correct: Tensor) -> float:
    """AUC of the scores (P, G) within groups, over all pairs."""
    right, wrong = scores.masked_fill(~correct, math.nan), scores.masked_fill(correct, math.nan)
    difference = right[:, :, None] - wrong[:, None, :]
    pairs = ~difference.isnan()
    wins = (difference > 0).sum() + 0.5 * ((difference == 0) & pairs).sum()
    return float(wins / pairs.sum())  # NaN without a pair
