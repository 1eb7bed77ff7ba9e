"""Maps of the probe set: the same rollouts in the plane at every step, so placed that a point that moves has moved.

Two ways, for two questions. `pca_map` fits one plane to the rollouts of all steps together: distances and moves are to
scale, as far as the plane holds them. `tsne_map` shows who is whose neighbour, which a plane cannot: it is fitted anew
at each step, but starts from the places of the step before and goes on from there, and is then turned onto them
(Procrustes). A joint t-SNE of all steps would not do: the nearest neighbours of a rollout would be its own copies at
the other steps, and the picture a heap of small clumps. Axes: S steps, N rollouts, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcpo_rl.analysis.geometry.projection import principal_axes
from mcpo_rl.analysis.geometry.rows import FloatArray, ProbeRows, unit
from mcpo_rl.errors import MissingDependencyError

PERPLEXITY = 30.0
FIRST_ITERATIONS = 1000
"""Of the first step's t-SNE: what it has not settled would show as a move at the second."""
NEXT_ITERATIONS = 250
SETTLED = 1e-4
"""Length of t-SNE's gradient at which it stops before that."""
ANALYSED_DIRECTIONS = 50
"""Principal directions that t-SNE takes the distances in; the usual number."""


@dataclass(frozen=True)
class ProbeMap:
    """Where every rollout lies at every step."""

    coordinates: FloatArray
    """(S, N, 2)"""
    explained: tuple[float, float] | None = None
    """Share of the variance along each axis; None for t-SNE, whose axes mean nothing."""


def pca_map(steps: Sequence[ProbeRows]) -> ProbeMap:
    """Place the rollouts on the first two principal axes of all steps together.

    Each row is taken from the common centre of the steps and scaled to length 1, as the measures compare directions.

    Args:
        steps: The same rollouts at one step each.
    """
    centre = np.mean([rows.centre for rows in steps], axis=0)
    directions = np.stack([unit(rows.features - centre) for rows in steps])
    mean, axes, explained = principal_axes(directions.reshape(-1, directions.shape[-1]))
    return ProbeMap((directions - mean) @ axes, explained)


def tsne_map(steps: Sequence[ProbeRows]) -> ProbeMap | None:
    """Place the rollouts by t-SNE (van der Maaten & Hinton 2008), each step from the places of the one before.

    What all rollouts have in common is taken out at each step, so a move of all together does not show.

    Args:
        steps: The same rollouts at one step each.

    Returns:
        The map, or None for fewer than ten rollouts.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependencyError(
            f"t-SNE needs {error.name}, which is not installed: pip install 'mcpo-rl[report]'"
        ) from error
    count = len(steps[0]) if steps else 0
    if count < 10:
        return None
    settings = {
        "perplexity": min(PERPLEXITY, (count - 1) / 3),
        "method": "exact",  # to a thousand rollouts it is as fast, and it knows no chance
        "random_state": 0,
        "min_grad_norm": SETTLED,
    }
    places: list[FloatArray] = []
    for rows in steps:
        leading = _leading(rows.directions)
        if places:
            # Without the early exaggeration, which would tear the picture apart and put it together anew.
            fit = TSNE(init=places[-1], early_exaggeration=1.0, max_iter=NEXT_ITERATIONS, **settings)
        else:
            fit = TSNE(init=_start(leading), max_iter=FIRST_ITERATIONS, **settings)
        placed = fit.fit_transform(leading).astype(np.float64)
        places.append(turned_onto(placed, places[-1]) if places else placed - placed.mean(axis=0))
    return ProbeMap(np.stack(places))


def turned_onto(places: FloatArray, target: FloatArray) -> FloatArray:
    """Return the (N, 2) `places` shifted, turned or mirrored to lie nearest to `target`; lengths stay (Procrustes).

    With A and B the two without their means and U S V^T = A^T B: A U V^T + mean of `target` (Schonemann 1966).
    """
    own, other = places - places.mean(axis=0), target - target.mean(axis=0)
    left, _, right = np.linalg.svd(own.T @ other)
    turned: FloatArray = own @ left @ right + target.mean(axis=0)
    return turned


def _leading(rows: FloatArray) -> FloatArray:
    """Return the (N, d) rows in at most `ANALYSED_DIRECTIONS` principal coordinates, signs fixed."""
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = min(ANALYSED_DIRECTIONS, *rows.shape)
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept)] < 0, -1.0, 1.0)
    leading: FloatArray = vectors * np.sqrt(np.maximum(values, 0.0))
    return leading


def _start(leading: FloatArray) -> FloatArray:
    """Return (N, 2): the first two principal coordinates, small, from which t-SNE keeps the large arrangement."""
    first = np.zeros((len(leading), 2))
    first[:, : min(2, leading.shape[1])] = leading[:, :2]
    size = first[:, 0].std()
    return first / size * 1e-4 if size > 0 else np.random.default_rng(0).normal(size=first.shape) * 1e-4
