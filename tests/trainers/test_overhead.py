"""The measurement of the overhead runs and compares the same rollouts; how fast is no test's business."""

from __future__ import annotations

import math

from mcpo_rl.cli.bench_overhead import Setting, _own_peak_mib, measure_time

from .conftest import make_model, make_tokenizer


def test_time_is_measured_on_the_same_rollouts(tmp_path):
    make_model().save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    setting = Setting(model=str(tmp_path), steps=2, prompts=3, generations=4, micro_batch=6, completion_length=4)
    found = measure_time(setting)
    assert set(found) == {"time_ratio", "grpo_step_s", "mcpo_step_s", "pool_phase_s", "rollouts", "tokens"}
    assert all(math.isfinite(value) and value > 0 for value in found.values())
    assert found["rollouts"] == 12


def test_the_peak_is_this_process_own():
    assert 10 < _own_peak_mib() < 100_000
