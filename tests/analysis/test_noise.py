"""The cosine without noise: of gradients whose expectation is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.sections.noise import noise_free_cosine


def run_with(cosine: float, noise: float, *, steps: int = 400, width: int = 40) -> RunData:
    """Two domains whose expected gradients have `cosine`; each half of a batch brings its own noise."""
    generator = np.random.default_rng(3)
    mu_a, mu_b = np.zeros(width), np.zeros(width)
    mu_a[0], mu_b[:2] = 1.0, (cosine, np.sqrt(1 - cosine**2))
    rows = []
    for step in range(steps):
        halves = [(mu[None] + noise * generator.normal(size=(2, width))) / 2 for mu in (mu_a, 2 * mu_b)]
        whole = [half.sum(axis=0) for half in halves]
        norms = [float(np.linalg.norm(one)) for one in whole]
        row = {"step": step, "interference/cosine/a/b": float(whole[0] @ whole[1]) / (norms[0] * norms[1])}
        for name, half, norm in zip("ab", halves, norms, strict=True):
            row |= {f"interference/norm/{name}": norm}
            row |= {f"interference/reliability/{name}": 4 * float(half[0] @ half[1]) / norm**2}
        rows.append(row)
    return RunData(name="r", path=Path("r"), method="grpo", metrics=rows)


@pytest.mark.parametrize("cosine", [-0.6, 0.0, 1.0])
def test_noise_is_taken_out(cosine):
    run = run_with(cosine, noise=0.5)
    found = noise_free_cosine(run, "b", "a")
    assert found is not None and found.problems == 400
    assert found.value == pytest.approx(cosine, abs=0.08)
    assert found.low < cosine < found.high and found.high - found.low < 0.3
    if cosine:
        seen = np.mean(run.series("interference/cosine/a/b")[1])
        assert abs(seen) < 0.7 * abs(cosine)  # what noise makes of it


def test_without_noise_it_is_the_cosine():
    found = noise_free_cosine(run_with(0.3, noise=0.0, steps=3), "a", "b")
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3, 0.3))


def test_nothing_to_tell():
    assert noise_free_cosine(RunData(name="r", path=Path("r"), method="grpo"), "a", "b") is None
    run = run_with(0.0, noise=0.1, steps=2)
    for row in run.metrics:
        row["interference/reliability/a"] = -0.2
    assert noise_free_cosine(run, "a", "b") is None
