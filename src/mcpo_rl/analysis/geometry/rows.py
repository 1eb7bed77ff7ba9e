"""The rows that the measures work on: representations of one step, with the labels of their rollouts.

Axes: N rollouts, d width of the representation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeRows:
    """N rollouts with their representations at one step."""

    features: FloatArray
    """h (N, d), finite."""
    domains: IntArray
    """(N,) numbers into `names`."""
    problems: IntArray
    """(N,): rollouts of one problem share a number."""
    correct: BoolArray
    """(N,)"""
    names: tuple[str, ...]
    """The domains' names, sorted."""

    @classmethod
    def of(
        cls,
        features: npt.ArrayLike,
        domains: Sequence[str],
        problems: Sequence[object],
        correct: Sequence[bool] | BoolArray,
    ) -> ProbeRows:
        """Return the rows of plain labels.

        Args:
            features: (N, d).
            domains: N names.
            problems: N labels, the same for rollouts of one problem.
            correct: N flags.
        """
        names = tuple(sorted(set(domains)))
        places = {name: place for place, name in enumerate(names)}
        numbers: dict[object, int] = {}
        return cls(
            features=np.asarray(features, dtype=np.float64),
            domains=np.array([places[name] for name in domains], dtype=np.int64),
            problems=np.array([numbers.setdefault(label, len(numbers)) for label in problems], dtype=np.int64),
            correct=np.asarray(correct, dtype=np.bool_),
            names=names,
        )

    def __len__(self) -> int:
        return len(self.features)

    def with_features(self, features: npt.NDArray[np.floating]) -> ProbeRows:
        """Return the same rollouts with other representations."""
        return ProbeRows(
            features=features.astype(np.float64),
            domains=self.domains,
            problems=self.problems,
            correct=self.correct,
            names=self.names,
        )

    def only(self, chosen: IntArray) -> ProbeRows:
        """Return the rollouts with these numbers."""
        names = [self.names[number] for number in self.domains[chosen]]
        return ProbeRows.of(self.features[chosen], names, self.problems[chosen].tolist(), self.correct[chosen])

    def of_domain(self, name: str) -> BoolArray:
        """Return (N,): the rows of a domain."""
        return np.equal(self.domains, self.names.index(name))

    @cached_property
    def centre(self) -> FloatArray:
        """The centre m (d,): the mean of the domains' means, so that each domain counts the same."""
        centre: FloatArray = np.mean([self.features[self.of_domain(name)].mean(axis=0) for name in self.names], axis=0)
        return centre

    @cached_property
    def directions(self) -> FloatArray:
        """The directions x (N, d): x_i = (h_i - m) / |h_i - m|; a row that lies on the centre stays 0.

        The hidden states of a language model share a large common part: without taking it out every two of them
        have a cosine near 1, whatever they are about.
        """
        return unit(self.features - self.centre)

    @cached_property
    def distances(self) -> FloatArray:
        """(N, N): |x_i - x_j|^2."""
        return squared_distances(self.directions)


def unit(rows: FloatArray) -> FloatArray:
    """Return the (N, d) rows at length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = np.zeros_like(rows)
    np.divide(rows, lengths, out=scaled, where=lengths > 0)
    return scaled


def squared_distances(rows: FloatArray) -> FloatArray:
    """Return (N, N): the squared distances between (N, d) rows."""
    squares = np.einsum("id,id->i", rows, rows)
    between = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(between, 0.0)
    return np.asarray(np.maximum(between, 0.0))
