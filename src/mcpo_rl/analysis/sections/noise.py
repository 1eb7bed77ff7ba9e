"""What a run's gradient cosines would be without the noise of its batches."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.scores import Estimate
from mcpo_rl.scores.estimators import LEVEL, RESAMPLES

BLOCKS = 20
"""Stretches of the run that are drawn: measurements that follow each other are alike."""


def noise_free_cosine(
    run: RunData, first: str, second: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate | None:
    r"""Return the cosine between two domains' expected gradients over a run, with a 95% interval.

    Batches of different domains are drawn apart, so <G_A, G_B> estimates the inner product of the expected gradients
    without bias; and so does r_A |G_A|^2 the squared norm of A's, with r the reliability. With means over the
    measurements,

    $$\cos = \frac{\overline{\langle G_A, G_B\rangle}}
                  {\sqrt{\overline{r_A |G_A|^2}\;\overline{r_B |G_B|^2}}}$$

    which is Spearman's (1904) correction for attenuation. It can come out beyond 1 by luck. The interval is a bootstrap
    over stretches of the run.

    Args:
        run: With `interference/...` among its metrics.
        first: A domain.
        second: Another.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The estimate, `problems` being the number of measurements; None where nothing was measured, or where the
        gradients are noise alone: a mean of r |G|^2 that is not above 0 has no direction.
    """
    a, b = sorted((first, second))
    names = [f"interference/cosine/{a}/{b}"]
    names += [f"interference/{what}/{domain}" for domain in (a, b) for what in ("norm", "reliability")]
    series = [dict(zip(*run.series(name), strict=True)) for name in names]
    steps = sorted(set.intersection(*(set(one) for one in series)))
    if not steps:
        return None
    cosine, norm_a, r_a, norm_b, r_b = (np.array([one[step] for step in steps]) for one in series)
    terms = np.stack([cosine * norm_a * norm_b, r_a * norm_a**2, r_b * norm_b**2])  # (3, measurements)
    value = _ratio(terms.mean(axis=1))
    if math.isnan(value):
        return None
    blocks = [part.sum(axis=1) for part in np.array_split(terms, min(BLOCKS, len(steps)), axis=1)]
    sums = np.stack(blocks)
    generator = np.random.default_rng(seed)
    drawn = sums[generator.integers(0, len(sums), size=(resamples, len(sums)))].sum(axis=1)
    ratios = [ratio for ratio in map(_ratio, drawn) if not math.isnan(ratio)]
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if ratios else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), len(steps))


def _ratio(terms: npt.NDArray[np.float64]) -> float:
    """Return the cosine of terms (3,): inner product and both squared norms, in any scale; NaN where undefined."""
    return float(terms[0] / math.sqrt(terms[1] * terms[2])) if terms[1] > 0 and terms[2] > 0 else math.nan
