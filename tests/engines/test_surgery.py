"""PCGrad on two ranks of DDP takes the steps that it takes on one, on both ranks, also where a rank lacks a domain."""

from __future__ import annotations

import pytest
import torch

from .launcher import launch
from .surgery_worker import main

pytestmark = pytest.mark.engines


def test_two_ranks_are_one(tmp_path):
    launch("engines.surgery_worker", [str(tmp_path), "2"], ranks=2, environment={"ACCELERATE_USE_CPU": "true"})
    main(tmp_path, 1)
    one, two, other = (torch.load(tmp_path / f"ranks-{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    for scope, alone in one.items():
        assert min(two[scope]["domains"], other[scope]["domains"]) < alone["domains"]
        for key, values in alone["log"].items():
            assert two[scope]["log"][key] == pytest.approx(values, rel=1e-5), key
        assert max(alone["log"]["surgery/projected"]) > 0
        for name, parameter in alone["parameters"].items():
            torch.testing.assert_close(two[scope]["parameters"][name], parameter, rtol=1e-6, atol=1e-6)
            assert torch.equal(two[scope]["parameters"][name], other[scope]["parameters"][name])
