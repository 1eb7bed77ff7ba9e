"""The paired test against enumeration, the binomial, the normal limit, and its own level."""

import itertools
import math

import numpy as np
import pytest

from mcpo_rl.scores import EvaluationRecord, ProblemScore, compare_records, sign_flip_test


def enumerated(differences: list[float]) -> float:
    found = abs(sum(differences))
    patterns = list(itertools.product([-1, 1], repeat=len(differences)))
    return sum(abs(sum(s * d for s, d in zip(p, differences, strict=True))) >= found - 1e-9 for p in patterns) / len(
        patterns
    )


@pytest.mark.parametrize(
    "differences",
    [[0.5, 0.25, -0.25], [1.0, 0.5, 0.5, 0.25], [0.1, 0.2, 0.3, 0.0, -0.1], [-0.75, -0.5, -0.5, 0.25, -1.0, -0.1]],
)
def test_equals_enumeration(differences: list[float]) -> None:
    assert sign_flip_test(differences) == pytest.approx(enumerated(differences))


def test_one_completion_per_problem_is_mcnemar() -> None:
    # 9 better, 2 worse, 50 the same: 2 * P(Bin(11, 1/2) >= 9)
    exact = 2 * sum(math.comb(11, i) for i in (9, 10, 11)) / 2**11
    assert sign_flip_test([1.0] * 9 + [-1.0] * 2 + [0.0] * 50) == pytest.approx(exact)
    assert sign_flip_test([1.0] * 5 + [-1.0] * 5) == 1.0


def test_no_difference_at_all() -> None:
    assert sign_flip_test([0.0] * 8) == sign_flip_test([]) == 1.0


def test_drawn_patterns_agree_with_the_exact_and_with_the_normal_limit() -> None:
    generator = np.random.default_rng(0)
    few = generator.normal(0.3, 1.0, size=16)
    drawn = sign_flip_test([*few, 1e-7])  # one more than are enumerated, and it weighs nothing
    assert drawn == pytest.approx(sign_flip_test(few), abs=0.012)
    many = generator.integers(-8, 9, size=3000) / 8 + 0.02
    z = abs(many.sum()) / math.sqrt((many**2).sum())
    assert sign_flip_test(many) == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.012)


def test_never_zero_and_seeded() -> None:
    strong = [0.5, 0.25, 1.0] * 30
    assert sign_flip_test(strong) == pytest.approx(1 / 20_001)
    weak = list(np.random.default_rng(1).normal(0.1, 1.0, size=60))
    assert sign_flip_test(weak, seed=1) == sign_flip_test(weak, seed=1) != sign_flip_test(weak, seed=2)


def test_keeps_its_level_where_nothing_differs() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        a, b = generator.binomial(4, 0.4, size=(2, 30)) / 4
        hits += sign_flip_test(b - a, draws=1000, seed=trial) < 0.05
    assert 0.02 <= hits / 300 <= 0.09


def test_in_a_comparison() -> None:
    def record(model: str, rights: dict[str, list[int]]) -> EvaluationRecord:
        scores = [
            ProblemScore(key=f"{d}{i}", domain=d, samples=1, correct=c)
            for d, cs in rights.items()
            for i, c in enumerate(cs)
        ]
        return EvaluationRecord(model=model, settings={}, scores=scores)

    first = record("a", {"math": [0] * 8 + [1] * 4, "code": [1, 1]})
    second = record("b", {"math": [1] * 8 + [1, 1, 1, 0], "code": [1, 0]})
    comparison = compare_records(first, second)
    math_difference = comparison.domains["math"]
    assert (math_difference.better, math_difference.worse) == (8, 1)
    assert math_difference.p_value == pytest.approx(2 * (9 + 1) / 2**9)
    assert comparison.micro.p_value == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    # Of the mean over domains: a problem of code weighs six times one of math.
    weighted = [1 / 24] * 8 + [-1 / 24] + [-1 / 4]
    assert comparison.macro.p_value == pytest.approx(enumerated(weighted))
    assert comparison.macro.value == pytest.approx((7 / 12 - 1 / 2) / 2)
    assert comparison.to_json()["domains"]["math"]["better"] == 8 and comparison.names == ("a", "b")
    lines = str(comparison).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["code", "math", "mean", "all"]
    assert lines[2].split()[-3:] == ["0.039", "8", "1"]
