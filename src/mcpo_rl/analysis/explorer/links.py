"""Why a rollout had the pairs it had: its positives with their scores, its hardest negatives, its own domain.

The chosen positives and their transferability are read from the kept rollouts. The rest follows from the kept
embeddings and the kept settings of the term by the rules of `mcpo_rl.objective.pairs`; it is not stored with every
rollout.

Axes: N rollouts of a step, m width of the embeddings, A anchors of a block, K negatives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mcpo_rl.runs import RolloutBatch

MOST_NEGATIVES = 6
"""Negatives shown beside an anchor: those that its loss pushes away the hardest."""
MOST_OF_OWN_DOMAIN = 3
_BLOCK = 512

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Another rollout of the same step that an anchor met in the loss."""

    row: int
    similarity: float | None
    """s_ij, the cosine of the two embeddings; None where no embeddings were kept."""
    transferability: float | None = None
    """t_ij of a positive; None where it was not kept, and for the other kinds."""
    share: float | None = None
    """Of a negative: exp(s_in / tau) over the sum of all the anchor's negatives, its share of the push; None where tau
    was not kept."""


@dataclass(frozen=True)
class AnchorPairs:
    """What one anchor met: how many, and the ones to look at."""

    positives: list[Pair] = field(default_factory=list)
    """P(i), best first."""
    negatives: list[Pair] = field(default_factory=list)
    """The hardest of Neg(i), hardest first."""
    negative_count: int = 0
    own_domain: list[Pair] = field(default_factory=list)
    """The nearest of Q(i), nearest first."""
    own_domain_count: int = 0
    own_domain_similarity: float | None = None
    """Mean s_iq over all of Q(i)."""


@dataclass(frozen=True)
class StepPairs:
    """The pairs of one step."""

    anchors: dict[int, AnchorPairs]
    """By row; empty where the term had no part."""
    correct: Counter[str]
    """Usable correct rollouts by domain: those that can be anchors and positives."""
    incorrect: Counter[str]
    """Usable incorrect rollouts by domain: those that can be negatives."""


def pairs_of(batch: RolloutBatch, settings: Mapping[str, Any]) -> StepPairs:
    """Return what every anchor of `batch` met.

    Args:
        batch: The rollouts of one step, as kept.
        settings: The term's: `negatives`, `temperature`, `consolidate_weight`; what is missing counts as `all`, unknown
            and on.

    Example:
        >>> batch = RolloutBatch(
        ...     step=0, prompts=["p", "q", "r"], completions=["1", "2", "3"], domains=["math", "code", "code"],
        ...     prompt_ids=[0, 1, 2], rewards=[1.0, 1.0, 0.0], correct=[True, True, False], usable=[True] * 3,
        ...     positives=[[1], [0], []], embeddings=np.eye(3, dtype=np.float32),
        ... )
        >>> pairs_of(batch, {"temperature": 0.1}).anchors[0].negatives
        [Pair(row=2, similarity=0.0, transferability=None, share=1.0)]
    """
    usable, correct = np.asarray(batch.usable, bool), np.asarray(batch.correct, bool)
    right, wrong = np.flatnonzero(usable & correct), np.flatnonzero(usable & ~correct)
    counts = [Counter(batch.domains[row] for row in rows) for rows in (right, wrong)]
    anchors: dict[int, AnchorPairs] = {}
    had_part = len(right) > 0 and len(wrong) > 0 and len(counts[0].keys() | counts[1].keys()) > 1
    if had_part and (batch.embeddings is not None or any(batch.positives)):
        meeting = _Meeting(batch, settings, right, wrong)
        for start in range(0, len(right), _BLOCK):
            anchors.update(meeting.of(right[start : start + _BLOCK]))
    return StepPairs(anchors, counts[0], counts[1])


class _Meeting:
    """Anchors against the rest of their step, a block of anchors at a time."""

    def __init__(self, batch: RolloutBatch, settings: Mapping[str, Any], right: IntArray, wrong: IntArray) -> None:
        self.batch, self.right, self.wrong = batch, right, wrong
        self.z = None if batch.embeddings is None else np.asarray(batch.embeddings, np.float64)
        self.scope = settings.get("negatives", "all")
        self.temperature = settings.get("temperature")
        self.consolidates = settings.get("consolidate_weight", 1.0) > 0
        self.domains = np.unique(np.asarray(batch.domains, object).astype(str), return_inverse=True)[1]
        self.labels = self.domains if self.scope == "domain" else np.asarray(batch.prompt_ids, np.int64)

    def of(self, rows: IntArray) -> dict[int, AnchorPairs]:
        """Return the pairs of the anchors `rows` (A,)."""
        against = np.ones((len(rows), len(self.wrong)), bool)
        if self.scope in ("domain", "prompt"):
            against = self.labels[rows][:, None] == self.labels[self.wrong]
        own = (self.domains[rows][:, None] == self.domains[self.right]) & (rows[:, None] != self.right)
        own &= self.consolidates
        to_wrong = to_right = None
        if self.z is not None:
            to_wrong, to_right = self.z[rows] @ self.z[self.wrong].T, self.z[rows] @ self.z[self.right].T
        found = {}
        for place, row in enumerate(rows.tolist()):
            s_wrong = None if to_wrong is None else np.where(against[place], to_wrong[place], -np.inf)
            s_own = None if to_right is None else np.where(own[place], to_right[place], -np.inf)
            found[row] = AnchorPairs(
                positives=self._positives(row),
                negatives=self._negatives(s_wrong),
                negative_count=int(against[place].sum()),
                own_domain=[] if s_own is None else _nearest(self.right, s_own, MOST_OF_OWN_DOMAIN),
                own_domain_count=int(own[place].sum()),
                own_domain_similarity=None if to_right is None else _mean(to_right[place][own[place]]),
            )
        return found

    def _positives(self, row: int) -> list[Pair]:
        chosen, scores = self.batch.positives[row], self.batch.positive_scores[row]
        return [
            Pair(
                other,
                None if self.z is None else float(self.z[row] @ self.z[other]),
                transferability=float(scores[place]) if scores else None,
            )
            for place, other in enumerate(chosen)
            if 0 <= other < len(self.batch)
        ]

    def _negatives(self, similarity: FloatArray | None) -> list[Pair]:
        if similarity is None:
            return []
        hardest = _nearest(self.wrong, similarity, MOST_NEGATIVES)
        if not self.temperature or not hardest:
            return hardest
        peak = similarity.max()
        total = np.exp((similarity - peak) / self.temperature).sum()
        return [
            Pair(pair.row, pair.similarity, share=float(np.exp((pair.similarity - peak) / self.temperature) / total))
            for pair in hardest
            if pair.similarity is not None
        ]


def _nearest(rows: IntArray, similarity: FloatArray, most: int) -> list[Pair]:
    """Return the `most` of `rows` with the highest finite `similarity`, highest first; ties as the rows are ordered."""
    most = min(most, len(rows))
    best = np.argpartition(-similarity, most - 1)[:most] if 0 < most < len(rows) else np.arange(len(rows))
    best = best[np.lexsort((best, -similarity[best]))]
    return [Pair(int(rows[place]), float(similarity[place])) for place in best if np.isfinite(similarity[place])]


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None
