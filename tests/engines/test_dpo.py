"""DPO with the contrastive term on two ranks takes the steps that it takes on one, and has one head, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .dpo_worker import CASES, train
from .engines import Engine
from .launcher import launch

pytestmark = pytest.mark.engines

KEYS = ("loss", "contrastive/loss", "contrastive/grad_norm", "contrastive/policy_grad_norm", "contrastive/positives")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process does."""
    return {case: train(case, Engine.DDP, 1, tmp_path_factory.mktemp("alone")) for case in CASES}


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return sum((first[name] - second[name]).square().sum().item() for name in first) ** 0.5


@pytest.mark.parametrize("engine", [Engine.DDP, Engine.FSDP2, Engine.ZERO2, Engine.ZERO3])
def test_two_ranks_are_one(alone, tmp_path, engine):
    if engine in (Engine.ZERO2, Engine.ZERO3):
        pytest.importorskip("deepspeed")
    launch("engines.dpo_worker", [str(tmp_path), engine], ranks=2, timeout_s=600)
    for case in CASES:
        expected = alone[case]
        found, other = (torch.load(tmp_path / f"{case}.{rank}.pt", weights_only=True) for rank in range(2))
        start = {name: expected["before"][name] for name in expected["weights"]}
        moved = distance(expected["weights"], start)
        assert moved > 0 and distance(found["weights"], expected["weights"]) < 1e-4 * moved
        assert all(torch.equal(found["head"][name], other["head"][name]) for name in expected["head"])
        for before, now in zip(expected["log"], found["log"], strict=True):
            assert before["contrastive/grad_norm"] > 0.2 * before["contrastive/policy_grad_norm"] > 0
            assert [now[key] for key in KEYS] == pytest.approx([before[key] for key in KEYS], rel=1e-4)
