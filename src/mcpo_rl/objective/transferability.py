"""Transferability: which correct rollouts of other domains an anchor may learn from.

Axes: N rollouts of the pool, d features, m head width, D domains, A anchors, C candidates, k positives per anchor,
B anchors of one block, Q distinct prompts among the candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective.config import ContrastiveConfig, Scorer
from mcpo_rl.objective.pool import RolloutPool

BlockScores = Callable[[Tensor], Tensor]
"""rows (B,) -> t (B, C): scores of anchors, given as row numbers of the pool, against all candidates."""


class ChosenPositives(NamedTuple):
    """P(i) of the given anchors, best first."""

    rows: Tensor
    """(A, k) int64: row numbers of the pool, -1 where an anchor has fewer than k."""
    scores: Tensor
    """(A, k): their t_ij, 0 where there is none."""


def choose_positives(
    pool: RolloutPool, z: Tensor, anchors: Tensor, config: ContrastiveConfig, generator: torch.Generator | None = None
) -> ChosenPositives:
    """Choose P(i): the best transferable rollouts of other domains, at most one of each prompt.

    `P(i)` holds the `num_positives` best j by t_ij among the usable correct rollouts with `dom_j != dom_i` and
    `t_ij >= min_transferability`. The choice is greedy, best first; ties go to the lowest row number. No gradient.
    Scores are made for `config.block_size` anchors at a time, so memory grows with B x N.

    Args:
        pool: the N rollouts.
        z: (N, m) embeddings, used by the scorer `cosine` alone.
        anchors: (A,) int64 row numbers, each of a usable correct rollout.
        config: `transferability`, `num_positives`, `min_transferability` and `block_size` are read.
        generator: a CPU generator for the scorer `random`; left out, each call starts from seed 0.

    Raises:
        ConfigError: a callable scorer returned something else than finite (N, N) scores.
    """
    candidates = pool.anchors.nonzero().flatten()  # ascending: the first of equal maxima is the lowest row number
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    rows = anchors.new_full((len(anchors), config.num_positives), -1)
    scores = torch.zeros(rows.shape, dtype=dtype, device=z.device)
    if len(anchors) == 0:
        return ChosenPositives(rows, scores)
    with torch.no_grad():
        score_block = _block_scorer(pool, z, candidates, config.transferability, generator)
        groups = _PromptGroups.of(pool.prompts[candidates])
        size = config.block_size or len(anchors)
        for start in range(0, len(anchors), size):
            block = slice(start, start + size)
            block_scores = score_block(anchors[block]).to(dtype)
            same_domain = pool.domains[anchors[block], None] == pool.domains[candidates]
            block_scores.masked_fill_(same_domain, -torch.inf)
            for column in range(min(config.num_positives, len(groups.sizes))):
                best, chosen = block_scores.max(dim=1)  # the first of equal maxima
                accepted = (best >= config.min_transferability) & (best > -torch.inf)
                rows[block, column] = torch.where(accepted, candidates[chosen], -1)
                scores[block, column] = torch.where(accepted, best, 0)
                block_scores.scatter_(1, groups.members_beside(chosen), -torch.inf)
    return ChosenPositives(rows, scores)


class _PromptGroups(NamedTuple):
    """The candidates (C) by prompt, ragged: group g is `order[starts[g] : starts[g] + sizes[g]]`."""

    group_of: Tensor  # (C,) the group of each candidate
    order: Tensor  # (C,) candidates sorted by group
    starts: Tensor  # (Q,)
    sizes: Tensor  # (Q,)
    largest: int

    @classmethod
    def of(cls, prompts: Tensor) -> _PromptGroups:
        _, group_of, sizes = torch.unique(prompts, return_inverse=True, return_counts=True)
        order = group_of.argsort(stable=True)
        return cls(group_of, order, sizes.cumsum(0) - sizes, sizes, int(sizes.max()))

    def members_beside(self, candidate: Tensor) -> Tensor:
        """(B,) candidates -> (B, largest) all candidates of their prompts; shorter groups repeat their last member."""
        group = self.group_of[candidate, None]
        offset = torch.arange(self.largest, device=candidate.device).expand(len(candidate), -1)
        return self.order[self.starts[group] + offset.minimum(self.sizes[group] - 1)]


def _block_scorer(
    pool: RolloutPool,
    z: Tensor,
    candidates: Tensor,
    transferability: str | Scorer,
    generator: torch.Generator | None,
) -> BlockScores:
    wide = torch.promote_types(z.dtype, torch.float32)
    if transferability == "centered":
        return _cosine_scorer(centered_features(pool, wide), candidates)
    if transferability == "cosine":
        return _cosine_scorer(_unit_rows(z.detach().to(wide)), candidates)
    if transferability == "random":
        return _random_scorer(candidates, generator or torch.Generator().manual_seed(0))
    assert callable(transferability)  # the configuration has checked it
    return _matrix_scorer(pool, candidates, transferability)


def centered_features(pool: RolloutPool, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unit vectors (N, d) along h_i less the mean of its domain's usable rollouts; their products are the cosines.

    A rollout that does not differ from its domain's mean (beyond rounding) has the zero vector: a cosine of 0 with
    everything.
    """
    features = pool.features.detach().to(torch.promote_types(dtype, pool.features.dtype))
    _, domain = torch.unique(pool.domains, return_inverse=True)
    member = torch.nn.functional.one_hot(domain) * pool.usable[:, None]  # (N, D); a product, unlike index_add, is
    member = member.to(features.dtype)  # deterministic on a GPU
    means = (member.T @ features) / member.sum(dim=0).clamp(min=1)[:, None]
    mean = means[domain]
    rounding = 16 * torch.finfo(features.dtype).eps * (features.norm(dim=1) + mean.norm(dim=1))
    return _unit_rows(features - mean, rounding).to(dtype)


def _unit_rows(vectors: Tensor, zero_below: Tensor | float = 0.0) -> Tensor:
    norms = vectors.norm(dim=1)
    return torch.where((norms > zero_below)[:, None], vectors / norms[:, None], 0)


def _cosine_scorer(unit: Tensor, candidates: Tensor) -> BlockScores:
    columns = unit[candidates].T
    return lambda rows: unit[rows] @ columns


def _random_scorer(candidates: Tensor, generator: torch.Generator) -> BlockScores:
    """Uniform scores in [0, 1), drawn on the CPU row by row: the same ones whatever the block size and the device."""
    return lambda rows: torch.rand(len(rows), len(candidates), generator=generator).to(candidates.device)


def _matrix_scorer(pool: RolloutPool, candidates: Tensor, scorer: Scorer) -> BlockScores:
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
