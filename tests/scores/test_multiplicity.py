"""Adjusted p-values against numbers worked out by hand, and against testing step by step."""

from __future__ import annotations

import random

import pytest

from mcpo_rl.scores import holm


def test_by_hand() -> None:
    # Ascending 0.01 0.02 0.03 0.04, times 4 3 2 1: 0.04 0.06 0.06 0.04, and never below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.005]) == [0.005]
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02, 0.02, 0.5]) == pytest.approx([0.06, 0.06, 0.5])


@pytest.mark.parametrize("level", [0.05, 0.3])
def test_says_what_stepping_down_says(level: float) -> None:
    draw = random.Random(3)
    for _ in range(200):
        p_values = [draw.random() ** 3 for _ in range(draw.randint(1, 8))]
        rejected: set[int] = set()
        for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[place] > level / (len(p_values) - rank):
                break
            rejected.add(place)
        assert {place for place, p in enumerate(holm(p_values)) if p <= level} == rejected


def test_no_probability() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm([0.5, wrong])
