"""The choice of positives: the best transferable rollouts of other domains, at most one of each prompt.

The cosines are symmetric, so each pair of domains is multiplied once and serves the anchors of both. What costs is then
the search for the best in a row of scores. It goes over prompts, not rollouts: the scores stand in an order in which
the best of every prompt is an elementwise maximum of a few slices (`layout`), and the best prompts are found by topk,
which does not say which of two equal ones comes first; rows where that matters are found by this and chosen anew, one
positive after the other, the lowest row first.

Axes: N rollouts of the pool, A anchors, C candidates, k positives per anchor, B anchors of one block, Q prompts,
R by S a tile of scores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mcpo_rl.objective.config import ContrastiveConfig
from mcpo_rl.objective.layout import Layout, Span
from mcpo_rl.objective.pool import RolloutPool
from mcpo_rl.objective.room import Room
from mcpo_rl.objective.transferability import BlockScores, callable_scores, random_scores, unit_vectors


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

    `P(i)` holds the `num_positives` best j by t_ij among the anchors with `dom_j != dom_i` and
    `t_ij >= min_transferability`. The choice is greedy, best first; ties go to the lowest row number. No gradient.
    Scores are made for about `config.block_size` anchors at a time, so memory grows with B x N.

    Args:
        pool: the N rollouts.
        z: (N, m) embeddings, used by the scorer `cosine` alone.
        anchors: (A,) int64: the row numbers of all usable correct rollouts, or none at all.
        config: `transferability`, `num_positives`, `min_transferability` and `block_size` are read.
        generator: a CPU generator for the scorer `random`; left out, each call starts from seed 0.

    Raises:
        ConfigError: a callable scorer returned something else than finite (N, N) scores.
    """
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    if len(anchors) == 0:
        shape = (0, config.num_positives)
        return ChosenPositives(anchors.new_zeros(shape), torch.zeros(shape, dtype=dtype, device=z.device))
    candidates = anchors.sort().values  # ascending: the first of equal maxima is the lowest row number
    with torch.no_grad():
        if callable(config.transferability):
            scores = callable_scores(pool, candidates, config.transferability)
        elif config.transferability == "random":
            scores = random_scores(candidates, generator or torch.Generator().manual_seed(0))
        else:
            return _choose_by_cosine(pool, z, anchors, candidates, config)
        return _choose_one_by_one(pool, anchors, candidates, scores, config, dtype)


def keep_mutual(chosen: ChosenPositives, anchors: Tensor, prompts: Tensor) -> ChosenPositives:
    """Leave a positive only to those who were chosen in turn: j stays in P(i) if P(j) holds a rollout of i's prompt.

    Prompts, not rollouts, because P(j) holds one rollout of a prompt at most: its siblings are near copies of it.

    Args:
        chosen: P(i) of all anchors, of which every positive is one.
        anchors: (A,) int64 row numbers.
        prompts: (N,) int64.
    """
    if len(anchors) == 0:
        return chosen
    place = anchors.new_zeros(len(prompts))
    place[anchors] = torch.arange(len(anchors), device=anchors.device)
    mutual = torch.zeros_like(chosen.rows, dtype=torch.bool)
    for column, positive in enumerate(chosen.rows.unbind(dim=1)):
        of_positive = chosen.rows[place[positive.clamp(min=0)]]  # (A, k): P(j)
        returned = (of_positive >= 0) & (prompts[of_positive.clamp(min=0)] == prompts[anchors, None])
        mutual[:, column] = (positive >= 0) & returned.any(dim=1)
    order = mutual.logical_not().long().argsort(dim=1, stable=True)  # those that stay first, in their order
    rows = chosen.rows.where(mutual, -1).gather(1, order)
    return ChosenPositives(rows, chosen.scores.where(mutual, 0).gather(1, order))


def _choose_one_by_one(
    pool: RolloutPool,
    anchors: Tensor,
    candidates: Tensor,
    score_block: BlockScores,
    config: ContrastiveConfig,
    dtype: torch.dtype,
) -> ChosenPositives:
    """Choose for any scores and whatever their ties: k times the maximum of what the choice before has left."""
    rows = anchors.new_full((len(anchors), config.num_positives), -1)
    scores = torch.zeros(rows.shape, dtype=dtype, device=rows.device)
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


def _choose_by_cosine(
    pool: RolloutPool, z: Tensor, anchors: Tensor, candidates: Tensor, config: ContrastiveConfig
) -> ChosenPositives:
    assert isinstance(config.transferability, str)  # `centered` or `cosine`: the configuration has checked it
    layout = Layout.of(pool.domains[candidates], pool.prompts[candidates])
    stands_for = candidates[layout.order]  # (C,): the row number at each place of the layout
    place = candidates.new_empty(len(pool))
    place[stands_for] = torch.arange(len(stands_for), device=place.device)
    unit = unit_vectors(pool, z, stands_for, config.transferability)

    def scores_of(rows: Tensor) -> Tensor:
        return (unit[place[rows]] @ unit.T)[:, place[candidates]]

    if layout.shared_prompts:  # the best of a prompt would have to be sought across domains
        return _choose_one_by_one(pool, anchors, candidates, scores_of, config, unit.dtype)
    best = _best_of_other_domains(unit, layout, config)
    scores, chosen = best.scores[place[anchors]], stands_for[best.places[place[anchors]]]
    accepted = (scores >= config.min_transferability) & (scores > -torch.inf)
    tied = ((scores[:, :-1] == scores[:, 1:]) & accepted[:, 1:]).any(dim=1)
    scores, accepted = scores[:, :-1], accepted[:, :-1]
    rows, scores = torch.where(accepted, chosen[:, :-1], -1), torch.where(accepted, scores, 0)
    if bool(tied.any()):
        again = _choose_one_by_one(pool, anchors[tied], candidates, scores_of, config, unit.dtype)
        rows[tied], scores[tied] = again.rows, again.scores
    return ChosenPositives(rows, scores)


class _Best(NamedTuple):
    """The best so far of every place, descending: one more than are chosen, to see a tie at the end of the choice."""

    scores: Tensor  # (C, k + 1), -inf where there is none
    places: Tensor  # (C, k + 1)

    def offer(self, of: slice | Tensor, scores: Tensor, places: Tensor) -> None:
        """Merge (R, any) scores and places into the lists of the places `of` (R,)."""
        all_scores = torch.cat([self.scores[of], scores], dim=1)
        all_places = torch.cat([self.places[of], places], dim=1)
        self.scores[of], kept = all_scores.topk(self.scores.shape[1], dim=1)
        self.places[of] = all_places.gather(1, kept)


def _best_of_other_domains(unit: Tensor, layout: Layout, config: ContrastiveConfig) -> _Best:
    shape = (len(unit), config.num_positives + 1)
    best = _Best(unit.new_full(shape, -torch.inf), layout.order.new_zeros(shape))
    room, places = Room(unit), torch.arange(len(unit), device=unit.device)
    for number, domain in enumerate(layout.domains):
        others = layout.domains[number + 1 :]
        for block in domain.blocks(config.block_size or len(unit)) if others else ():
            block_places = torch.cat([places[part] for part in block.parts])
            block_unit = torch.cat([unit[part] for part in block.parts])
            for other in others:
                columns = slice(other.parts[0].start, other.parts[-1].stop)
                tile = torch.mm(block_unit, unit[columns].T, out=room.matrix(len(block_unit), other.size))
                best.offer(block_places, *_best_prompts(tile, other, places[columns], shape[1], 1))
                best.offer(columns, *_best_prompts(tile, block, block_places, shape[1], 0))
    return best


def _best_prompts(tile: Tensor, span: Span, places: Tensor, count: int, dim: int) -> tuple[Tensor, Tensor]:
    """Find the best prompts of a tile of scores (R, S) for every place on the other side.

    Args:
        tile: (R, S) scores.
        span: the prompts along `dim` of the tile.
        places: (R,) or (S,) the places along `dim`.
        count: how many prompts are wanted.
        dim: 1: the best columns of every row; 0: the best rows of every column.

    Returns:
        Scores and places, (R, at most count) or (S, at most count): the best rollout of each of the best prompts.
    """
    firsts, offset = span.counts[0], span.counts[0]
    of_prompts = tile.narrow(dim, 0, firsts).clone()
    for members in span.counts[1:]:
        part = of_prompts.narrow(dim, 0, members)
        torch.maximum(part, tile.narrow(dim, offset, members), out=part)
        offset += members
    of_prompts = of_prompts if dim == 1 else of_prompts.T.contiguous()
    prompts = of_prompts.topk(min(count, firsts), dim=1).indices
    tile = tile if dim == 1 else tile.T
    chosen, scores, offset = prompts, tile.gather(1, prompts), firsts
    for members in span.counts[1:]:  # ascending rows: a later member has to be better
        member = torch.where(prompts < members, prompts + offset, prompts)
        of_member = tile.gather(1, member)
        better = of_member > scores
        chosen, scores = torch.where(better, member, chosen), torch.where(better, of_member, scores)
        offset += members
    return scores, places[chosen]
