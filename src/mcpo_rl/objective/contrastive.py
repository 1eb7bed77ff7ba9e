"""The two losses and their gradient, one block of anchors at a time.

    l_ij = -log( exp(s_ij/tau) / (exp(s_ij/tau) + sum_{n in Neg(i)} exp(s_in/tau)) ) = softplus(L_i - s_ij/tau),
    L_i  = log sum_{n in Neg(i)} exp(s_in/tau)

    L_share = mean over anchors i with P(i) != {} of mean_{p in P(i)} l_ip
    L_cons  = mean over anchors i with Q(i) != {} of mean_{q in Q(i)} l_iq        (form `contrastive`)
                                               or of mean_{q in Q(i)} (1 - s_iq)  (form `align`)

With w_ij the weight of a pair in the sum, sigma_ij = sigmoid(L_i - s_ij/tau) and p_in = exp(s_in/tau - L_i), the
gradient is dL/ds_ij = -w_ij sigma_ij / tau for a positive (to z_i alone where positives are detached) and
dL/ds_in = p_in sum_j w_ij sigma_ij / tau for a negative. A row needs nothing of the other rows: one pass over blocks of
rows finds loss and gradient, and only correct rows meet incorrect columns or correct ones of their domain, so there is
no N x N matrix, whatever the block size. Derived in docs/method.md.

Axes: N rollouts of the pool, m head width, A anchors, K negatives of a scope, k positives per anchor, C anchors of one
domain, B anchors of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mcpo_rl.errors import PoolError
from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.metrics import pool_metrics
from mcpo_rl.objective.pairs import DomainSlice, Pairs, select_pairs
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.room import Room

_CACHED = 1 << 18
"""Entries of a temporary that stays in a core's cache."""


def contrastive_loss(
    z: Tensor, pool: RolloutPool, config: ContrastiveConfig, *, generator: torch.Generator | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Compute share_weight * L_share + consolidate_weight * L_cons of a pool, differentiable in z.

    The loss and its gradient are exactly 0 where the term has no part (nothing correct, nothing incorrect, usable
    rollouts of fewer than two domains). The gradient is analytic and found with the loss; a second derivative is not
    offered.

    Args:
        z: (N, m) floating point, rows of length 1 (not checked): the representations. Half precision is computed in
            float32.
        pool: the N rollouts; `pool.features` decide the positives where the scorer is `centered` (no gradient).
        config: settings of the losses.
        generator: a CPU generator for the scorer `random`; left out, each call starts from seed 0.

    Returns:
        The loss, a scalar in z's dtype (float32 for half precision), and the metrics as plain floats; see
        docs/method.md.

    Raises:
        PoolError: z does not fit the pool.
        ConfigError: a callable scorer returned something else than finite (N, N) scores.

    Example:
        >>> pool = RolloutPool(
        ...     features=torch.eye(4), domains=torch.tensor([0, 0, 1, 1]), prompts=torch.tensor([0, 0, 1, 1]),
        ...     correct=torch.tensor([True, False, True, False]),
        ... )
        >>> loss, metrics = contrastive_loss(torch.eye(4), pool, ContrastiveConfig(min_transferability=-1.0))
        >>> round(float(loss), 4)  # log 3: one positive against two negatives, all at right angles
        1.0986
    """
    terms = contrastive_terms(z, pool, config, generator)
    return terms.loss, terms.metrics


class ContrastiveTerms(NamedTuple):
    """What one pass over a pool gives."""

    loss: Tensor
    """(), differentiable in z."""
    metrics: dict[str, float]
    positives: Tensor
    """(N, k) int64: P(i) as row numbers of the pool, best first, -1 where there is none."""
    positive_scores: Tensor
    """(N, k): t_ij of P(i), 0 where there is none."""


def contrastive_terms(
    z: Tensor, pool: RolloutPool, config: ContrastiveConfig, generator: torch.Generator | None = None
) -> ContrastiveTerms:
    """Do the work of `contrastive_loss` and return the chosen positives and their scores too."""
    _check_embeddings(z, pool)
    # An engine may call from inside its autocast: the losses are to be exact there too.
    with torch.autocast(z.device.type, enabled=False):
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        pairs = select_pairs(pool, wide.detach(), config, generator)
        loss, parts, s_positives = _PairLosses.apply(wide, pairs, pool.prompts, config)  # type: ignore[no-untyped-call]
        metrics = pool_metrics(wide.detach(), pool, pairs, config, parts, s_positives)
    return ContrastiveTerms(loss, metrics, pairs.positive_rows(len(pool)), pairs.positive_scores(len(pool)))


def _check_embeddings(z: Tensor, pool: RolloutPool) -> None:
    if not z.is_floating_point() or z.dim() != 2 or z.shape[0] != len(pool):
        raise PoolError(f"z is {z.dtype} {tuple(z.shape)}; expected floating point (N, m) with N = {len(pool)}.")
    if z.device != pool.device:
        raise PoolError(f"z is on {z.device}, the pool on {pool.device}; move one of them first.")


class _PairLosses(torch.autograd.Function):
    """(z, pairs) -> weighted loss, [L_share, L_cons], s_ip (A, k); the gradient is found in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, pairs: Pairs, prompts: Tensor, config: ContrastiveConfig
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums = _Sums.zeros(z, pairs, with_gradient=ctx.needs_input_grad[0])
        for domain, rows in _blocks(pairs, config.block_size):
            _add_block(sums, pairs, domain, rows, prompts, config)
        if config.consolidate_weight > 0 and config.consolidation == "align":
            _add_alignment(sums, pairs, config)
        if sums.gradient is not None:
            _add_share_gradient(sums.gradient, sums, pairs.positives, config)
            gradient = torch.zeros_like(z)
            gradient[pairs.anchors] = sums.gradient.anchors
            gradient[pairs.negatives] = sums.gradient.negatives
            ctx.save_for_backward(gradient)
        parts = torch.stack([sums.share, sums.consolidate])
        ctx.mark_non_differentiable(parts, sums.s_positives)
        loss = config.share_weight * sums.share + config.consolidate_weight * sums.consolidate
        return loss.to(z.dtype), parts, sums.s_positives

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_loss * gradient, None, None, None


@dataclass
class _Gradient:
    anchors: Tensor  # (A, m)
    negatives: Tensor  # (K, m)


@dataclass
class _Sums:
    """What grows from block to block: the two losses and the gradient of their weighted sum."""

    z_anchors: Tensor  # (A, m)
    z_negatives: Tensor  # (K, m)
    s_positives: Tensor  # s_ip (A, k)
    sigma_positives: Tensor  # share_weight w_ip sigma_ip (A, k)
    share: Tensor  # (), float64 as the next: many blocks are added up
    consolidate: Tensor  # ()
    num_sharing: int  # anchors with P(i) != {}
    num_consolidating: int  # anchors with Q(i) != {}
    gradient: _Gradient | None
    negatives_room: Room  # for the (B, K) and the (B, C) of a block
    positives_room: Room

    @classmethod
    def zeros(cls, z: Tensor, pairs: Pairs, with_gradient: bool) -> _Sums:
        z_anchors, z_negatives = z[pairs.anchors], z[pairs.negatives]
        chosen = pairs.positives.clamp(min=0).unbind(dim=1)
        return cls(
            z_anchors=z_anchors,
            z_negatives=z_negatives,
            s_positives=torch.stack([torch.linalg.vecdot(z_anchors, z_anchors[p]) for p in chosen], dim=1),
            sigma_positives=z.new_zeros(pairs.positives.shape),
            share=z.new_zeros((), dtype=torch.float64),
            consolidate=z.new_zeros((), dtype=torch.float64),
            num_sharing=int(pairs.shares.sum()),
            num_consolidating=sum(d.num_anchors for d in pairs.domains if d.num_anchors > 1),
            gradient=_Gradient(torch.zeros_like(z_anchors), torch.zeros_like(z_negatives)) if with_gradient else None,
            negatives_room=Room(z),
            positives_room=Room(z),
        )


def _blocks(pairs: Pairs, block_size: int | None) -> Iterator[tuple[DomainSlice, slice]]:
    """Yield slices of at most `block_size` anchors, each within one domain."""
    for domain in pairs.domains:
        stop = domain.anchors.stop
        for start in range(domain.anchors.start, stop, block_size or domain.num_anchors):
            yield domain, slice(start, min(start + block_size, stop) if block_size else stop)


def _add_block(
    sums: _Sums, pairs: Pairs, domain: DomainSlice, rows: slice, prompts: Tensor, config: ContrastiveConfig
) -> None:
    """Add the contrastive losses of one block of anchors, and their gradient, to the sums."""
    shares = config.share_weight > 0 and sums.num_sharing > 0
    consolidates = config.consolidate_weight > 0 and config.consolidation == "contrastive" and domain.num_anchors > 1
    if not (shares or consolidates):
        return
    scaled = sums.z_anchors[rows] / config.temperature  # (B, m): a product with it is s / tau
    columns = domain.negatives if config.negatives == "domain" else slice(0, len(pairs.negatives))
    z_negatives = sums.z_negatives[columns]
    s_negatives = torch.mm(scaled, z_negatives.T, out=sums.negatives_room.matrix(len(scaled), len(z_negatives)))
    if config.negatives == "prompt":
        other_prompt = prompts[pairs.anchors[rows], None] != prompts[pairs.negatives]
        s_negatives.masked_fill_(other_prompt, -torch.inf)
    e, total, against = _exponentials(s_negatives)  # one exp for loss and gradient: p_in = e_in / total_i
    pull = torch.zeros_like(against)  # sum_j w_ij sigma_ij (B,): how strongly each row pushes its negatives away
    if shares:
        pull += _add_share(sums, pairs.positives[rows], rows, against, config)
    if consolidates:
        pull += _add_consolidate(sums, domain, rows, scaled, against, config)
    if sums.gradient is not None:
        # tau dL/ds_in = e_in push_i: the factor of a row goes to the narrow side of the products.
        push = torch.where(total > 0, pull / total, 0)[:, None]
        sums.gradient.anchors[rows] += (e @ z_negatives) * (push / config.temperature)
        sums.gradient.negatives[columns].addmm_(e.T, scaled * push)


def _exponentials(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, K), overwritten -> e_in = exp(s_in - max of row i), their sum (B,), L_i (B,).

    A row without finite entries, also where K = 0, has e = 0, the sum 0 and L_i = -inf.
    """
    if s.shape[1] == 0:
        none = s.new_zeros(s.shape[0])
        return s, none, none - torch.inf
    peak = s.amax(dim=1)
    peak = torch.where(peak == -torch.inf, 0, peak)
    e = s.sub_(peak[:, None]).exp_()
    total = e.sum(dim=1)
    return e, total, peak + total.log()


def _add_share(sums: _Sums, positives: Tensor, rows: slice, against: Tensor, config: ContrastiveConfig) -> Tensor:
    """Add L_share of a block with P(i) in `positives` (B, k); return sum_p w_ip sigma_ip (B,)."""
    present = positives >= 0
    weight = present.to(against.dtype) / (present.sum(dim=1, keepdim=True).clamp(min=1) * sums.num_sharing)  # w_ip
    x = against[:, None] - sums.s_positives[rows] / config.temperature
    sums.share += (weight * _softplus(x)).sum(dtype=torch.float64)
    sigma = config.share_weight * weight * x.sigmoid()
    sums.sigma_positives[rows] = sigma
    return sigma.sum(dim=1)


def _add_share_gradient(gradient: _Gradient, sums: _Sums, positives: Tensor, config: ContrastiveConfig) -> None:
    """Carry the pull between anchors and their positives (A, k) to the anchors and, unless detached, to the positives.

    The way back is a sum over bags of rows, which, unlike index_add, is deterministic on a GPU.
    """
    if sums.num_sharing == 0:
        return
    k = positives.shape[1]
    target, step = positives.clamp(min=0), sums.sigma_positives / config.temperature
    for column in range(k):
        gradient.anchors.addcmul_(step[:, column, None], sums.z_anchors[target[:, column]], value=-1)
    if config.detach_positives:
        return
    by_target = target.flatten().argsort(stable=True)
    bag_sizes = target.flatten().bincount(minlength=len(target))
    gradient.anchors -= F.embedding_bag(
        by_target // k,  # the anchors that chose a target, target after target
        sums.z_anchors,
        bag_sizes.cumsum(0) - bag_sizes,
        mode="sum",
        per_sample_weights=step.flatten()[by_target],
    )


def _add_consolidate(
    sums: _Sums, domain: DomainSlice, rows: slice, scaled: Tensor, against: Tensor, config: ContrastiveConfig
) -> Tensor:
    """Add L_cons (form `contrastive`) of a block of one domain's anchors; return sum_q w_iq sigma_iq (B,)."""
    z_domain = sums.z_anchors[domain.anchors]
    weight = 1 / (sums.num_consolidating * (domain.num_anchors - 1))  # w_iq, the same for all of a domain
    x = sums.positives_room.matrix(len(scaled), domain.num_anchors)
    torch.addmm(against[:, None], scaled, z_domain.T, alpha=-1, out=x)  # L_i - s_iq / tau (B, C)
    # An anchor is no positive of its own: x = -inf gives l = 0 and sigma = 0.
    x.diagonal(rows.start - domain.anchors.start).fill_(-torch.inf)
    for part in torch.split(x, max(1, _CACHED // domain.num_anchors)):
        sums.consolidate += weight * _softplus(part).sum(dim=1).sum(dtype=torch.float64)
    sigma, strength = x.sigmoid_(), config.consolidate_weight * weight
    if sums.gradient is not None:
        sums.gradient.anchors[rows].addmm_(sigma, z_domain, alpha=-strength / config.temperature)
        if not config.detach_positives:
            sums.gradient.anchors[domain.anchors].addmm_(sigma.T, scaled, alpha=-strength)
    return sigma.sum(dim=1) * strength


def _add_alignment(sums: _Sums, pairs: Pairs, config: ContrastiveConfig) -> None:
    """Add L_cons (form `align`); the s_iq of a row add up to z_i . (sum of the others), so no matrix is needed."""
    for domain in pairs.domains:
        if domain.num_anchors < 2:
            continue
        z_domain = sums.z_anchors[domain.anchors]
        others = z_domain.sum(dim=0) - z_domain  # sum_{q in Q(i)} z_q (C, m)
        mean_similarity = (z_domain * others).sum(dim=1) / (domain.num_anchors - 1)
        sums.consolidate += (1 - mean_similarity).sum(dtype=torch.float64) / sums.num_consolidating
        if sums.gradient is not None:
            weight = config.consolidate_weight / (sums.num_consolidating * (domain.num_anchors - 1))
            ends = 1 if config.detach_positives else 2  # each pair counts from both of its ends
            sums.gradient.anchors[domain.anchors] -= ends * weight * others


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); torch's own threshold of 20 would cost 1e-9 of accuracy in float64."""
    return F.softplus(x, threshold=40.0)
