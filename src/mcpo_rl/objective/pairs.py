"""Which rollouts meet in the losses: anchors, positives and negatives, in an order that makes slices of them.

Axes: N rollouts of the pool, A anchors, K negatives, k positives per anchor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.positives import choose_positives, keep_mutual


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainSlice:
    """One domain's anchors and negatives, as slices of `Pairs.anchors` and `Pairs.negatives`."""

    domain: int
    anchors: slice
    negatives: slice

    @property
    def num_anchors(self) -> int:
        """n_D, the number of the domain's anchors."""
        return int(self.anchors.stop - self.anchors.start)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """All pairs of a pool. Where the term has no part (see `select_pairs`) everything is empty."""

    anchors: Tensor
    """(A,) int64: rows of the pool, the usable correct rollouts, sorted by domain."""
    negatives: Tensor
    """(K,) int64: rows of the pool, the usable incorrect rollouts, sorted by domain."""
    domains: tuple[DomainSlice, ...]
    """Every domain that has an anchor, ascending."""
    positives: Tensor
    """(A, k) int64: P(i), best first, as positions in `anchors`; -1 where there is none."""
    transferability: Tensor
    """(A, k): t_ij of the positives, 0 where there is none."""

    @property
    def shares(self) -> Tensor:
        """(A,) bool: P(i) is not empty."""
        return (self.positives >= 0).any(dim=1)

    def positive_rows(self, n: int) -> Tensor:
        """P(i) as (N, k) row numbers of the pool, for every one of its `n` rollouts; -1 where there is none."""
        rows = self.positives.new_full((n, self.positives.shape[1]), -1)
        if len(self.anchors):
            rows[self.anchors] = torch.where(self.positives >= 0, self.anchors[self.positives.clamp(min=0)], -1)
        return rows

    def positive_scores(self, n: int) -> Tensor:
        """t_ij of P(i) as (N, k), beside `positive_rows`; 0 where there is none."""
        scores = self.transferability.new_zeros((n, self.transferability.shape[1]))
        scores[self.anchors] = self.transferability
        return scores


def select_pairs(
    pool: RolloutPool, z: Tensor, config: ContrastiveConfig, generator: torch.Generator | None = None
) -> Pairs:
    """Find the anchors, positives and negatives of a pool; all are empty where the term is exactly 0.

    That is: no usable correct rollout, no usable incorrect one, usable rollouts of fewer than two domains, or both
    weights 0. P(i) is not looked for where `share_weight` is 0.
    """
    anchors, negatives = (_sorted_by_domain(pool, mask) for mask in (pool.anchors, pool.negatives))
    usable_domains = torch.unique(pool.domains[pool.usable])
    weightless = config.share_weight == 0 and config.consolidate_weight == 0
    if weightless or len(anchors) == 0 or len(negatives) == 0 or len(usable_domains) < 2:
        anchors, negatives, usable_domains = anchors[:0], negatives[:0], usable_domains[:0]
    sought = anchors if config.share_weight > 0 else anchors[:0]
    chosen = choose_positives(pool, z, sought, config, generator)
    if config.mutual_positives:
        chosen = keep_mutual(chosen, sought, pool.prompts)
    positives = anchors.new_full((len(anchors), config.num_positives), -1)
    scores = chosen.scores.new_zeros(positives.shape)
    if len(sought):
        position = anchors.new_full((len(pool),), -1)
        position[anchors] = torch.arange(len(anchors), device=anchors.device)
        positives = torch.where(chosen.rows >= 0, position[chosen.rows.clamp(min=0)], -1)
        scores = chosen.scores
    return Pairs(
        anchors=anchors,
        negatives=negatives,
        domains=_domain_slices(pool, anchors, negatives, usable_domains),
        positives=positives,
        transferability=scores,
    )


def _sorted_by_domain(pool: RolloutPool, mask: Tensor) -> Tensor:
    rows = mask.nonzero().flatten()
    return rows[pool.domains[rows].argsort(stable=True)]


def _domain_slices(pool: RolloutPool, anchors: Tensor, negatives: Tensor, domains: Tensor) -> tuple[DomainSlice, ...]:
    slices: list[DomainSlice] = []
    bounds = [
        (torch.searchsorted(labels, domains).tolist(), torch.searchsorted(labels, domains, right=True).tolist())
        for labels in (pool.domains[anchors], pool.domains[negatives])
    ]
    (anchor_from, anchor_to), (negative_from, negative_to) = bounds
    for index, domain in enumerate(domains.tolist()):
        if anchor_to[index] > anchor_from[index]:
            of_anchors = slice(anchor_from[index], anchor_to[index])
            of_negatives = slice(negative_from[index], negative_to[index])
            slices.append(DomainSlice(domain=domain, anchors=of_anchors, negatives=of_negatives))
    return tuple(slices)
