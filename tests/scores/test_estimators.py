"""Estimators against closed forms and counting."""

import itertools
import math

import numpy as np
import pytest

from mcpo_rl.scores import Estimate, bootstrap_mean, pass_at_k, stratified_mean


class TestPassAtK:
    @pytest.mark.parametrize(
        ("n", "c", "k"), [(n, c, k) for n in (1, 3, 5) for c in range(n + 1) for k in range(1, n + 1)]
    )
    def test_equals_counting_every_draw(self, n: int, c: int, k: int) -> None:
        draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))

    def test_by_hand(self) -> None:
        assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
        assert pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)
        assert pass_at_k(200, 0, 100) == 0.0
        assert pass_at_k(200, 101, 100) == 1.0

    def test_large_counts_keep_their_precision(self) -> None:
        assert pass_at_k(1000, 1, 500) == pytest.approx(0.5)

    @pytest.mark.parametrize("arguments", [(3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)])
    def test_refuses_what_is_not_defined(self, arguments: tuple[int, int, int]) -> None:
        with pytest.raises(ValueError, match="pass@k needs"):
            pass_at_k(*arguments)


class TestBootstrap:
    def test_matches_the_normal_interval_where_that_holds(self) -> None:
        values = np.random.default_rng(1).normal(0.5, 0.2, size=400)
        estimate = bootstrap_mean(values)
        half = 1.96 * values.std() / math.sqrt(len(values))
        assert estimate.value == pytest.approx(values.mean())
        assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
        assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)

    def test_covers_the_truth_about_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(2)
        covered = 0
        for trial in range(300):
            estimate = bootstrap_mean(generator.binomial(1, 0.4, size=60), resamples=500, seed=trial)
            covered += estimate.low <= 0.4 <= estimate.high
        assert 0.91 <= covered / 300 <= 0.98

    def test_same_seed_same_interval(self) -> None:
        values = np.random.default_rng(0).random(30)
        assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
        assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)

    def test_many_problems_are_drawn_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = np.linspace(0, 1, 50)
        whole = bootstrap_mean(values, resamples=100)
        monkeypatch.setattr("mcpo_rl.scores.estimators._CHUNK", 170)
        assert bootstrap_mean(values, resamples=100) == whole

    @pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.2775), (1.0, 0.7225, 1.0)])
    def test_all_wrong_or_all_right_is_not_certainty(self, share: float, low: float, high: float) -> None:
        # Wilson for 10 problems: z^2 / (10 + z^2) = 0.2775
        estimate = bootstrap_mean([share] * 10)
        assert (estimate.value, estimate.low, estimate.high) == (
            share,
            pytest.approx(low, abs=1e-4),
            pytest.approx(high, abs=1e-4),
        )

    def test_no_problem(self) -> None:
        estimate = bootstrap_mean([])
        assert math.isnan(estimate.value) and estimate.problems == 0 and not estimate.clear
        assert estimate.to_json() == {"value": None, "low": None, "high": None, "problems": 0}

    def test_groups_weigh_the_same(self) -> None:
        estimate = stratified_mean([[1.0] * 90, [0.0, 0.5], []])
        assert estimate.value == pytest.approx((1.0 + 0.25) / 2)
        # The first group does not vary; the second's mean is 0, 1/4 or 1/2 with probabilities 1/4, 1/2, 1/4.
        assert (estimate.low, estimate.high) == (0.5, 0.75)


class TestClear:
    def test_needs_enough_problems(self) -> None:
        assert not bootstrap_mean([1.0] * 5, unit=False).clear
        assert bootstrap_mean([1.0] * 6, unit=False).clear

    def test_interval_must_leave_zero_out(self) -> None:
        assert Estimate(0.1, 0.01, 0.2, 50).clear and Estimate(-0.1, -0.2, -0.01, 50).clear
        assert not Estimate(0.1, -0.01, 0.2, 50).clear and not Estimate(0.1, 0.0, 0.2, 50).clear
