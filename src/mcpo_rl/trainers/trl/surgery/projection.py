"""PCGrad (Yu et al. 2020, arXiv 2001.06782, algorithm 1), worked out on inner products alone.

Axes: K domains, M groups of parameters that are projected by themselves.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What PCGrad makes of K gradients."""

    weights: Tensor
    """(K,) float64: the step follows sum_k weights_k g_k."""
    projected: int
    """How many of the K (K - 1) ordered pairs were in conflict when their turn came."""


def project_conflicting(gram: Tensor, orders: Sequence[Sequence[int]]) -> Projection:
    """Return PCGrad's combination of gradients whose inner products are known.

    For every i, beginning with p_i = g_i, for the other j in the order `orders[i]`:

        p_i <- p_i - (p_i . g_j / ||g_j||^2) g_j    where p_i . g_j < 0

    and the step is sum_i p_i. Each p_i stays a combination of the g_k, p_i = sum_k C_ik g_k, and p_i . g_j =
    sum_k C_ik <g_k, g_j>: the K x K matrix of inner products is all that is needed, whatever the size of the model, and
    it is worked with in float64. A gradient of 0 takes part in nothing; where no pair is in conflict the weights are 1,
    and the step is the plain sum.

    Args:
        gram: (K, K) inner products <g_i, g_j>.
        orders: for each i the others in the order of projection (`random_orders`).

    Example:
        >>> gram = torch.tensor([[1.0, -1.0], [-1.0, 2.0]])  # of (1, 0) and (-1, 1)
        >>> project_conflicting(gram, [[1], [0]]).weights  # p_0 = g_0 + g_1 / 2, p_1 = g_1 + g_0
        tensor([2.0000, 1.5000], dtype=torch.float64)
    """
    gram = gram.detach().to("cpu", torch.float64)
    combinations = torch.eye(len(gram), dtype=torch.float64)
    projected = 0
    for own, others in zip(combinations, orders, strict=True):
        for j in others:
            inner_product = own @ gram[:, j]
            if inner_product < 0:  # never where one of them is NaN: a broken gradient stays visible as it is
                own[j] -= inner_product / gram[j, j]
                projected += 1
    return Projection(weights=combinations.sum(dim=0), projected=projected)


def random_orders(count: int, *, seed: int, step: int) -> list[list[int]]:
    """Return for each of `count` gradients the others in random order.

    It depends on seed and step alone: the same on every rank, and in a run that was resumed.
    """
    generator = random.Random(f"{seed}/{step}")
    return [generator.sample([j for j in range(count) if j != i], count - 1) for i in range(count)]


def combined_norm(gram: Tensor, weights: Tensor) -> Tensor:
    """Return || sum_k w_k g_k || from the inner products `gram` (M, K, K) and `weights` (M, K) of each group."""
    squared = torch.einsum("mi,mij,mj->m", weights, gram.to("cpu", torch.float64), weights).sum()
    return squared.clamp(min=0).sqrt()
