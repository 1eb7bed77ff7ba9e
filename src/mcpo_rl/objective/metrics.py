"""What is measured of a pool on every step. All of it is without gradient, and none of it needs an N x N matrix.

Axes: N rollouts of the pool, m head width, A anchors, K negatives, k positives per anchor, U usable rollouts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.pairs import Pairs
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.room import Room


def pool_metrics(
    z: Tensor, pool: RolloutPool, pairs: Pairs, config: ContrastiveConfig, parts: Tensor, s_positives: Tensor
) -> dict[str, float]:
    """Measure one pool; the formulas are in docs/method.md. A mean over no pairs at all is 0: the counts tell it apart.

    Args:
        z: (N, m) embeddings, detached.
        pool: the N rollouts.
        pairs: who meets whom.
        config: `negatives`, the weights and `block_size` are read.
        parts: (2,) L_share and L_cons.
        s_positives: (A, k) s_ip of the chosen positives; anything where there is none.

    Returns:
        share_loss, consolidate_loss; counts: anchors (with any positive), positives (pairs of P), in_domain_positives
        (pairs of Q), negatives (pairs of an anchor and a rollout of its Neg); means over these pairs: transferability,
        similarity/cross_positive, similarity/in_domain_positive, similarity/negative; alignment over all positive
        pairs and uniformity over all usable rollouts (Wang & Isola 2020); borrow/<to>/<from>, the number of positives
        that anchors of the domain `to` chose from the domain `from`, for every ordered pair of domains among the
        usable rollouts.
    """
    with torch.no_grad():
        anchor_z = z[pairs.anchors]
        cross_similarity, cross_distance, cross_count = _cross_sums(anchor_z, pairs, s_positives)
        in_similarity, in_distance, in_count = _in_domain_sums(anchor_z, pairs, config)
        takes_part = pairs.shares
        if config.consolidate_weight > 0:
            for domain in pairs.domains:
                takes_part[domain.anchors] |= domain.num_anchors > 1
        negative_similarity, negative_count = _negative_sums(z, pool, pairs, takes_part, config)
        measured = {
            "share_loss": parts[0],
            "consolidate_loss": parts[1],
            "anchors": takes_part.sum(),
            "positives": cross_count,
            "in_domain_positives": in_count,
            "negatives": negative_count,
            "transferability": _mean(pairs.transferability.sum(), cross_count),
            "similarity/cross_positive": _mean(cross_similarity, cross_count),
            "similarity/in_domain_positive": _mean(in_similarity, in_count),
            "similarity/negative": _mean(negative_similarity, negative_count),
            "alignment": _mean(cross_distance + in_distance, cross_count + in_count),
            "uniformity": uniformity(z[pool.usable], config.block_size),
        }
        measured.update(_borrowing(pool, pairs))
        # One transfer for all of them: on a GPU each .item() would wait for the queue to drain.
        values = torch.stack([value.to(torch.float64) for value in measured.values()]).tolist()
    return dict(zip(measured, values, strict=True))


def uniformity(z: Tensor, block_size: int | None = None) -> Tensor:
    """Log of the mean of exp(-2 |z_i - z_j|^2) over the pairs i < j (Wang & Isola 2020): lower is more evenly spread.

    Args:
        z: (U, m) embeddings; with U < 2 the value is 0.
        block_size: rows handled at once; None takes all.
    """
    u = len(z)
    if u < 2:
        return z.new_zeros(())
    # -2 |z_i - z_j|^2 = 4 s_ij - 2 |z_i|^2 - 2 |z_j|^2 as one product of widened rows: no pass to add the squares.
    squares, one = z.square().sum(dim=1, keepdim=True), z.new_ones(u, 1)
    left, right = torch.cat([4 * z, -2 * squares, one], dim=1), torch.cat([z, one, -2 * squares], dim=1)
    total = z.new_zeros((), dtype=torch.float64)
    size, room = block_size or u, Room(z)
    for start in range(0, u, size):
        stop = min(start + size, u)
        # Only columns from the block's own on: the part left of it is its mirror image.
        closeness = torch.mm(left[start:stop], right[start:].T, out=room.matrix(stop - start, u - start)).exp_()
        own = closeness[:, : stop - start]
        total += closeness.sum(dim=1).sum(dtype=torch.float64) - (own.sum() + own.diagonal().sum()) / 2
    return (total / (u * (u - 1) / 2)).log().to(z.dtype)


def _mean(total: Tensor, count: Tensor) -> Tensor:
    return total / count.clamp(min=1)


def _cross_sums(anchor_z: Tensor, pairs: Pairs, s_positives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of s_ip, sum of |z_i - z_p|^2 and number over the pairs of P."""
    present = pairs.positives >= 0
    squares = anchor_z.square().sum(dim=1)
    distances = squares[:, None] + squares[pairs.positives.clamp(min=0)] - 2 * s_positives
    return (s_positives * present).sum(), (distances * present).sum(), present.sum()


def _in_domain_sums(anchor_z: Tensor, pairs: Pairs, config: ContrastiveConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The same over the pairs of Q, from sums of vectors: sum_{i != q} s_iq = |sum_i z_i|^2 - sum_i |z_i|^2."""
    similarity, distance = anchor_z.new_zeros(()), anchor_z.new_zeros(())
    count = 0
    for domain in pairs.domains if config.consolidate_weight > 0 else ():
        n, of_domain = domain.num_anchors, anchor_z[domain.anchors]
        if n < 2:
            continue
        squares = of_domain.square().sum()
        of_pairs = of_domain.sum(dim=0).square().sum() - squares
        similarity += of_pairs
        distance += 2 * (n - 1) * squares - 2 * of_pairs
        count += n * (n - 1)
    return similarity, distance, torch.tensor(count, device=anchor_z.device)


def _negative_sums(
    z: Tensor, pool: RolloutPool, pairs: Pairs, takes_part: Tensor, config: ContrastiveConfig
) -> tuple[Tensor, Tensor]:
    """Sum of s_in and number of the anchor-negative pairs: in a group of the scope all meet all, so vector sums do."""
    anchors = pairs.anchors[takes_part]
    if config.negatives == "all":
        return z[anchors].sum(dim=0) @ z[pairs.negatives].sum(dim=0), anchors.new_tensor(
            len(anchors) * len(pairs.negatives)
        )
    _, group = torch.unique(pool.domains if config.negatives == "domain" else pool.prompts, return_inverse=True)
    groups = int(group.max()) + 1 if len(group) else 0
    (of_anchors, anchor_counts), (of_negatives, negative_counts) = (
        group_sums(z, rows, group[rows], groups) for rows in (anchors, pairs.negatives)
    )
    return (of_anchors * of_negatives).sum(), (anchor_counts * negative_counts).sum()


def group_sums(z: Tensor, rows: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Sums (groups, m) and numbers (groups,) of z's rows by group; bags, unlike index_add, are deterministic."""
    sizes = group.bincount(minlength=groups)
    if len(rows) == 0:
        return z.new_zeros(groups, z.shape[1]), sizes
    in_order = rows[group.argsort(stable=True)]
    return F.embedding_bag(in_order, z, sizes.cumsum(0) - sizes, mode="sum"), sizes


def _borrowing(pool: RolloutPool, pairs: Pairs) -> dict[str, Tensor]:
    """Count the chosen positives by the anchor's domain (to) and their own (from)."""
    names = torch.unique(pool.domains[pool.usable])
    label = torch.searchsorted(names, pool.domains[pairs.anchors])
    present = pairs.positives >= 0
    to = label[:, None].expand_as(pairs.positives)[present]
    origin = label[pairs.positives[present]]
    counts = (to * len(names) + origin).bincount(minlength=len(names) ** 2)
    return {
        f"borrow/{a}/{b}": counts[row * len(names) + column]
        for row, a in enumerate(names.tolist())
        for column, b in enumerate(names.tolist())
        if a != b
    }
