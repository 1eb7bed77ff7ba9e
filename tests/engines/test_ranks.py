"""Two ranks are one: the same parameters after three steps on the same rollouts, by gloo on the CPU."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset

from trainers.conftest import history, parameters_of

from . import mixture_ranks
from .launcher import launch
from .ranks import main

pytestmark = pytest.mark.engines


def test_two_ranks_are_one(tmp_path):
    """One launch for all that two ranks have to show: it is the imports that take long."""
    whole, shares = mixture_ranks.whole_run(tmp_path)
    launch("engines.ranks", [str(tmp_path), "2"], ranks=2, environment={"ACCELERATE_USE_CPU": "true"})
    main(tmp_path, 1)
    assert_the_same_training(tmp_path)
    found = torch.load(tmp_path / "mixture.pt", weights_only=True)
    assert_one_process_on_the_replaced_problems(found, tmp_path)
    # A run of one rank is continued by two: the same problems, the same adaptive shares.
    resumed, asked = json.loads(found["resumed"])
    assert resumed == whole[2:] and len(resumed) == 3
    assert asked == pytest.approx(shares) and len(set(asked)) > 2


def assert_the_same_training(directory):
    one, two = (torch.load(directory / f"ranks-{ranks}.pt", weights_only=True) for ranks in (1, 2))
    for key, values in one["log"].items():
        assert two["log"][key] == pytest.approx(values, rel=1e-5), key
    assert one["log"]["contrastive/weight"][0] == 0 < one["log"]["contrastive/weight"][1]
    for name, parameter in one["parameters"].items():
        torch.testing.assert_close(two["parameters"][name], parameter, rtol=1e-6, atol=1e-6)
    # Advantages out of the pool are the same wherever a group's rollouts are.
    assert any(one["advantages"]["contrastive/advantage_groups"])
    for key, values in one["advantages"].items():
        assert two["advantages"][key] == pytest.approx(values, rel=1e-5), key
    for name, parameter in one["given"].items():
        torch.testing.assert_close(two["given"][name], parameter, rtol=1e-6, atol=1e-6)
    # A head that drifts is brought back, and only then.
    assert two["drifted"] == [False, True, False]
    # Ranks that sample for themselves keep one head.
    assert one["source"] == two["source"] == "generation"
    assert two["sampled_drifted"] is False
    # The counts of a rank's own completions, as a mean over the ranks.
    assert one["judged"].keys() == two["judged"].keys() >= {"verify/math/correct", "verify/waited_seconds"}
    for found, each in ((one, 8), (two, 4)):
        assert found["judged"]["verify/math/correct"] + found["judged"]["verify/math/incorrect"] == each


def assert_one_process_on_the_replaced_problems(found, directory):
    assert found["replaced"][0] >= 2 and found["rolled_out"][0] > found["replaced"][0]
    rows = Dataset.from_list(json.loads(found["rows"]))
    reference = mixture_ranks.trainer_on(directory / "reference", 1, dataset=rows, shuffle_dataset=False, max_steps=1)
    reference.train()
    for key in mixture_ranks.KEYS[:-1]:
        assert found["log"][key] == pytest.approx(history(reference, key), rel=1e-5), key
    for name, parameter in parameters_of(reference).items():
        torch.testing.assert_close(found["parameters"][name], parameter, rtol=1e-6, atol=1e-6)
