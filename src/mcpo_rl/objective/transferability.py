"""Transferability: how alike the reasoning of two rollouts is, whatever domain each is from.

`positives` chooses by these scores.

Axes: N rollouts of the pool, d features, m head width, D domains, R rows asked for, C candidates, B anchors of one
block.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective.config import Scorer
from mcpo_rl.objective.pool import RolloutPool

BlockScores = Callable[[Tensor], Tensor]
"""rows (B,) -> t (B, C): scores of anchors, given as row numbers of the pool, against all candidates."""

_CHUNK = 1 << 22
"""Entries of the features that are worked on at once: what is made on the way stays small beside the pool."""


def unit_vectors(pool: RolloutPool, z: Tensor, rows: Tensor, transferability: str) -> Tensor:
    """Unit vectors (R, d or m) of the given rows, float32 or float64 as z; their products are the scores t_ij.

    Args:
        pool: the N rollouts.
        z: (N, m) embeddings.
        rows: (R,) int64 row numbers.
        transferability: `centered` or `cosine`.
    """
    wide = torch.promote_types(z.dtype, torch.float32)
    if transferability == "centered":
        return centered_features(pool, wide, rows)
    return _unit_rows(z.detach()[rows].to(wide))


def centered_features(pool: RolloutPool, dtype: torch.dtype = torch.float32, rows: Tensor | None = None) -> Tensor:
    """Unit vectors (R, d) along h_i less the mean of its domain's usable rollouts; their products are the cosines.

    A rollout that does not differ from its domain's mean (beyond rounding) has the zero vector: a cosine of 0 with
    everything. `rows` (R,) are all N if left out.
    """
    features = pool.features.detach()
    wide = torch.promote_types(dtype, features.dtype)
    rows = torch.arange(len(pool), device=pool.device) if rows is None else rows
    _, domain = torch.unique(pool.domains, return_inverse=True)
    means = _domain_means(features, domain, pool.usable, wide)
    unit = torch.empty(len(rows), pool.feature_dim, dtype=dtype, device=pool.device)
    size = _chunk_rows(features)
    for part, into in zip(torch.split(rows, size), torch.split(unit, size), strict=True):
        h, mean = features[part].to(wide), means[domain[part]]
        rounding = 16 * torch.finfo(wide).eps * (h.norm(dim=1) + mean.norm(dim=1))
        into.copy_(_unit_rows(h - mean, rounding))
    return unit


def _domain_means(features: Tensor, domain: Tensor, usable: Tensor, dtype: torch.dtype) -> Tensor:
    """(D, d): the mean of each domain's usable rollouts; `domain` (N,) counts from 0."""
    member = (torch.nn.functional.one_hot(domain) * usable[:, None]).to(dtype)  # (N, D); a product, unlike index_add,
    total = torch.zeros(member.shape[1], features.shape[1], dtype=dtype, device=features.device)  # is deterministic
    size = _chunk_rows(features)
    for of_chunk, chunk in zip(torch.split(member, size), torch.split(features, size), strict=True):
        total.addmm_(of_chunk.T, chunk.to(dtype))
    return total / member.sum(dim=0).clamp(min=1)[:, None]


def _chunk_rows(features: Tensor) -> int:
    return max(1, _CHUNK // features.shape[1])


def _unit_rows(vectors: Tensor, zero_below: Tensor | float = 0.0) -> Tensor:
    norms = vectors.norm(dim=1)
    return torch.where((norms > zero_below)[:, None], vectors / norms[:, None], 0)


def random_scores(candidates: Tensor, generator: torch.Generator) -> BlockScores:
    """Uniform scores in [0, 1), drawn on the CPU row by row: the same ones whatever the block size and the device."""
    return lambda rows: torch.rand(len(rows), len(candidates), generator=generator).to(candidates.device)


def callable_scores(pool: RolloutPool, candidates: Tensor, scorer: Scorer) -> BlockScores:
    """The scores that a callable of the user gives for the whole pool.

    Raises:
        ConfigError: it returned something else than finite (N, N) scores.
    """
    matrix, n = scorer(pool), len(pool)
    if not isinstance(matrix, Tensor) or matrix.shape != (n, n):
        got = f"shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ConfigError(
            f"The callable ContrastiveConfig.transferability returned {got}; expected a tensor ({n}, {n})."
        )
    if not bool(torch.isfinite(matrix).all()):
        raise ConfigError(
            "The callable ContrastiveConfig.transferability returned NaN or infinite scores; to rule a pair out, "
            "score it below min_transferability."
        )
    matrix = matrix.detach().to(pool.device)
    return lambda rows: matrix[rows[:, None], candidates]
