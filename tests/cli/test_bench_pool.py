"""`mcpo-rl bench pool`: what is compared with what."""

from __future__ import annotations

import sys

import pytest
import torch

from mcpo_rl.cli import bench_pool
from mcpo_rl.cli.bench_pool import PoolCase, measure_case, measure_pool
from mcpo_rl.errors import RunError

TINY = PoolCase(rollouts=48, features=6, width=5, percents=(10, 50), repeats=2)


def test_a_record_for_each_share_of_correct_rollouts() -> None:
    found = measure_case(TINY)
    assert [record["correct"] for record in found["pools"]] == [10, 50]
    for record in found["pools"]:
        assert record["step_ratio"] == pytest.approx(record["step_s"] / record["products_s"])
        assert record["peak_mib"] > record["above_idle_mib"] >= 0


@pytest.mark.parametrize("entries", [1 << 26, 150])
def test_the_products_are_those_of_a_dense_form(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []
    z = torch.randn(48, 5, generator=torch.Generator().manual_seed(0))
    real = torch.zeros_like
    monkeypatch.setattr(torch, "zeros_like", lambda like: made.append(real(like)) or made[-1])
    monkeypatch.setattr(bench_pool._Products, "_BLOCK_ENTRIES", entries)
    bench_pool._Products(z)()
    s = z @ z.T
    torch.testing.assert_close(made[0], s @ z + s.T @ z)


def test_a_process_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RunError, match="pool of 48 rollouts was not measured"):
        measure_pool([TINY])
