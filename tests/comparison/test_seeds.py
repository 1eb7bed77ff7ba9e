"""Estimates over seeds: Student's distribution against closed forms, intervals against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from mcpo_rl.comparison.seeds import (
    corrected,
    difference_over_seeds,
    over_seeds,
    paired_over_seeds,
    student_cdf,
    student_quantile,
)
from mcpo_rl.scores import Estimate

CLOSED = {1: lambda t: 0.5 + math.atan(t) / math.pi, 2: lambda t: 0.5 + t / (2 * math.sqrt(2 + t * t))}
"""Of the Cauchy distribution, and of two degrees of freedom."""


def problems(value: float, low: float, high: float, count: int = 50) -> Estimate:
    return Estimate(value, low, high, count)


@pytest.mark.parametrize("freedom", [1, 2])
@pytest.mark.parametrize("t", [-7.0, -0.3, 0.0, 0.1, 1.0, 4.0, 30.0])
def test_student_against_closed_forms(freedom: int, t: float) -> None:
    assert student_cdf(t, freedom) == pytest.approx(CLOSED[freedom](t), abs=1e-12)


def test_quantiles() -> None:
    assert student_quantile(0.975, 1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)
    # Of two degrees of freedom: 2 a sqrt(2 / (1 - 4 a^2)) with a = p - 1/2.
    assert student_quantile(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-9)
    assert student_quantile(0.5, 7) == pytest.approx(0.0, abs=1e-9)
    for freedom in (3, 9, 200):
        assert student_cdf(student_quantile(0.975, freedom), freedom) == pytest.approx(0.975, abs=1e-11)
    for wrong in ((0.4, 3), (1.0, 3), (0.9, 0)):
        with pytest.raises(ValueError, match=r"needs 0\.5 <= probability < 1"):
            student_quantile(*wrong)


def test_the_interval_of_three_seeds() -> None:
    # Mean 0.6, standard deviation 0.1, t of two degrees of freedom.
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) * 0.1 / math.sqrt(3)
    estimate = over_seeds({2: 0.7, 0: 0.5, 1: 0.6}, problems(0.6, 0.55, 0.65))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert estimate.over == "seeds" and list(estimate.seeds) == [0, 1, 2]


def test_a_share_stays_between_0_and_1() -> None:
    assert over_seeds({0: 0.98, 1: 0.9}, unit=True).high == 1.0
    assert over_seeds({0: 0.02, 1: 0.1}, unit=True).low == 0.0
    assert over_seeds({0: 0.98, 1: 0.9}).high > 1


def test_seeds_that_differ_by_rounding_alone_agree() -> None:
    # The same mean of thirds, added up from other terms.
    values = {0: (2 / 3 - 1 / 3 + 0.0) / 2, 1: (1 / 3 - 0.0 + 0.0) / 2, 2: (1 - 2 / 3 + 0.0) / 2}
    assert len(set(values.values())) > 1
    difference = difference_over_seeds(values, problems(1 / 6, 0.1, 0.2))
    assert (difference.over, difference.low, difference.high, difference.p) == ("problems", 0.1, 0.2, None)


def test_where_seeds_give_no_interval_the_problems_do() -> None:
    for values in ({5: 0.4}, {0: 0.4, 1: 0.4, 2: 0.4}):
        estimate = over_seeds(values, problems(0.4, 0.3, 0.5))
        assert (estimate.over, estimate.low, estimate.high) == ("problems", 0.3, 0.5)
    alone = over_seeds({5: 0.4})
    assert alone.over is None and math.isnan(alone.low)
    assert alone.to_json() == {"value": 0.4, "low": None, "high": None, "over": None, "seeds": {"5": 0.4}}


def test_nothing_measured() -> None:
    estimate = over_seeds({0: math.nan}, problems(0.4, 0.3, 0.5))
    assert math.isnan(estimate.value) and not estimate.seeds and estimate.over is None
    assert over_seeds({0: math.nan, 1: 0.5}).seeds == {1: 0.5}


def test_the_paired_test() -> None:
    # Differences 1, 2, 3 hundredths: t = 0.02 / (0.01 / sqrt 3) = 2 sqrt 3, with two degrees of freedom.
    difference = difference_over_seeds({0: 0.01, 1: 0.02, 2: 0.03}, problems(0.02, 0.01, 0.03))
    t = 2 * math.sqrt(3)
    assert difference.p == pytest.approx(2 * (1 - CLOSED[2](t)))
    assert difference.p > 0.05 and difference.low < 0 and not difference.clear
    assert difference_over_seeds({0: 0.02}, problems(0.02, 0.01, 0.03)).p is None


def test_clear_asks_for_three_seeds_and_for_both_intervals() -> None:
    close = {0: 0.100, 1: 0.101, 2: 0.099}
    assert difference_over_seeds(close, problems(0.1, 0.05, 0.15)).clear
    assert difference_over_seeds({seed: -x for seed, x in close.items()}, problems(-0.1, -0.15, -0.05)).clear
    assert not difference_over_seeds(close, problems(0.1, -0.01, 0.2)).clear
    assert not difference_over_seeds(close, problems(0.1, 0.05, 0.15, count=5)).clear
    assert not difference_over_seeds({0: 0.1, 1: 0.1001}, problems(0.1, 0.05, 0.15)).clear


def test_sign_flips_over_seeds() -> None:
    # All eight agree in sign: 2 of the 256 patterns are as extreme, whatever the sizes.
    assert paired_over_seeds({seed: 0.01 * (seed + 1) for seed in range(8)}).p_sign_flip == 2 / 256
    assert difference_over_seeds({0: 0.1, 1: 0.2, 2: -0.05}, problems(0.1, 0.0, 0.2)).p_sign_flip == 4 / 8
    assert paired_over_seeds({0: 0.1}).p_sign_flip is None
    same = paired_over_seeds({0: 0.1, 1: 0.1, 2: 0.1})
    assert (same.p, same.p_sign_flip) == (None, 0.25)
    assert paired_over_seeds({0: 1e-17, 1: 1e-17, 2: 1e-17}).p_sign_flip == 1.0, "rounding is no difference"


def test_a_family_of_differences() -> None:
    family = {
        "a": difference_over_seeds({0: 0.100, 1: 0.101, 2: 0.102}, problems(0.1, 0.05, 0.15)),
        "b": difference_over_seeds({0: 0.05, 1: 0.06, 2: 0.07}, problems(0.06, 0.01, 0.1)),
        "c": difference_over_seeds({0: 0.06, 1: 0.10, 2: 0.11}, problems(0.09, 0.01, 0.15)),
        "agree": difference_over_seeds({0: 0.1, 1: 0.1, 2: 0.1}, problems(0.1, 0.05, 0.15)),
    }
    found = corrected(family)
    p = {name: one.p for name, one in family.items()}
    assert p["a"] and p["b"] and p["c"] and 0.025 < p["c"] < 0.05, "clear by itself, at the edge"
    assert [found[name].p_holm for name in "abc"] == pytest.approx([3 * p["a"], 2 * p["b"], p["c"]])
    assert found["a"].clear and found["b"].clear and found["c"].clear and found["c"].family == 3
    # Without its neighbours' help the largest p is the only one that is not multiplied: as the smallest it is.
    alone = corrected({"c": family["c"], **{str(n): family["c"] for n in range(3)}})["c"]
    assert alone.p_holm == pytest.approx(4 * p["c"]) and family["c"].clear and not alone.clear
    # Bonferroni: t of two degrees of freedom at 1 - 0.025 / 3.
    quantile = 1 - 0.025 / 3 - 0.5
    half = 2 * quantile * math.sqrt(2 / (1 - 4 * quantile**2)) * 0.01 / math.sqrt(3)
    assert found["b"].simultaneous == pytest.approx((0.06 - half, 0.06 + half))
    # Where there is no test, nothing is adjusted, and it takes no part.
    assert found["agree"] == family["agree"] and found["agree"].clear and found["agree"].p_holm is None
    one = corrected({"b": family["b"]})["b"]
    assert one.p_holm == p["b"] and one.simultaneous == pytest.approx((one.low, one.high))
    assert one.to_json()["p_holm"] == p["b"] and one.to_json()["family"] == 1
