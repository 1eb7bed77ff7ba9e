"""When a domain counts as forgotten: by hand, and how often by mistake."""

from __future__ import annotations

import numpy as np
import pytest

from mcpo_rl.errors import RunError
from mcpo_rl.scores.forgetting import ForgettingWatch


def rates(*values: float) -> dict[str, float]:
    return {str(number): value for number, value in enumerate(values)}


def test_by_hand():
    watch = ForgettingWatch()
    first = watch.observe(5, {"math": rates(*[1.0] * 8), "code": rates(0.0, 0.0)})
    assert (first["math"].best, first["math"].best_step, first["math"].below, first["math"].alarm) == (1, 5, 0, False)
    # All eight worse: 2 / 2^8 two-sided, times two domains, times one earlier evaluation.
    second = watch.observe(9, {"math": rates(*[0.5] * 8), "code": rates(1.0, 0.0)})
    assert second["math"].p_value == pytest.approx(4 / 256)
    assert second["math"].below == 0.5 and second["math"].best_step == 5 and second["math"].alarm
    assert second["code"].best == 0.5 and second["code"].best_step == 9 and not second["code"].alarm
    # A third one is compared with the best of two.
    third = watch.observe(12, {"math": rates(*[0.5] * 8)})
    assert third["math"].p_value == pytest.approx(2 * 2 / 256)


def test_a_few_problems_cannot_raise_an_alarm():
    watch = ForgettingWatch()
    watch.observe(0, {"a": rates(*[1.0] * 5)})
    assert not watch.observe(1, {"a": rates(*[0.0] * 5)})["a"].alarm  # 1 of 16


def test_back_to_the_best_ends_the_alarm():
    watch = ForgettingWatch()
    good, bad = rates(*[1.0] * 10), rates(*[0.0] * 10)
    alarms = [watch.observe(step, {"a": one})["a"].alarm for step, one in enumerate([good, bad, bad, good])]
    assert alarms == [False, True, True, False]


def test_nothing_judged_is_passed_over():
    watch = ForgettingWatch()
    assert watch.observe(0, {"a": {}}) == {}
    assert watch.observe(1, {"a": rates(1.0)})["a"].best_step == 1


def test_problems_that_the_best_did_not_judge_are_left_out():
    watch = ForgettingWatch()
    watch.observe(0, {"a": {"x": 1.0}})
    assert watch.observe(1, {"a": {"y": 0.0}})["a"].p_value == 1.0


def test_other_problems_that_were_judged_raise_no_alarm():
    # Better on every problem that both judged, lower on average by those that only this evaluation did.
    watch = ForgettingWatch()
    watch.observe(0, {"a": {**{f"x{n}": 0.5 for n in range(8)}, **{f"y{n}": 1.0 for n in range(10)}}})
    now = {**{f"x{n}": 1.0 for n in range(8)}, **{f"z{n}": 0.0 for n in range(10)}}
    standing = watch.observe(1, {"a": now})["a"]
    assert standing.below > 0 and standing.p_value < 0.05 and not standing.alarm


def test_false_alarms_are_as_rare_as_promised():
    # Nothing changes but which completions are drawn; the best of several evaluations is lucky all the same.
    generator = np.random.default_rng(0)
    alarms = evaluations = 0
    for _ in range(10):
        watch = ForgettingWatch()
        skills = generator.beta(1, 1, size=(2, 60))
        for step in range(8):
            drawn = generator.binomial(2, skills) / 2
            standings = watch.observe(step, {name: rates(*row) for name, row in zip("ab", drawn, strict=True)})
            evaluations += 1
            alarms += any(one.alarm for one in standings.values())
    assert alarms / evaluations <= 0.05


def test_a_real_fall_is_found():
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(10):
        watch = ForgettingWatch()
        for step in range(5):
            watch.observe(step, {"a": rates(*generator.binomial(2, 0.7, size=100) / 2)})
        found += watch.observe(5, {"a": rates(*generator.binomial(2, 0.4, size=100) / 2)})["a"].alarm
    assert found == 10


def test_state_goes_on():
    watch, other = ForgettingWatch(), ForgettingWatch()
    watch.observe(3, {"a": rates(*[1.0] * 8)})
    other.load_state_dict(watch.state_dict())
    worse = {"a": rates(*[0.0] * 8)}
    assert other.observe(4, worse) == watch.observe(4, worse)
    with pytest.raises(RunError, match="is damaged"):
        other.load_state_dict({"best": {"a": 1}})
