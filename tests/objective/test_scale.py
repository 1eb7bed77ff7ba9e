"""Large pools: what is held in memory grows with N, not with N x N, and the result stays that of the dense form."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mcpo_rl.cli.bench_pool import PoolCase, measure_pool
from mcpo_rl.objective import ContrastiveConfig, ContrastiveObjective, RolloutPool

SETTINGS = [  # every value of each
    ("all", "contrastive", "centered"),
    ("domain", "contrastive", "cosine"),
    ("prompt", "align", "centered"),
]


class LargestTensor(TorchDispatchMode):
    """Remembers the number of entries of the largest tensor that any operation returns."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if torch.is_tensor(leaf)]
        self.entries = max([self.entries] + [t.untyped_storage().nbytes() // t.itemsize for t in tensors])
        return result


def large_pool(n, d=8, correct=0.8, domains=3, group=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    prompts = torch.arange(n) // group
    return RolloutPool(
        features=torch.randn(n, d, generator=rng),
        domains=prompts % domains,
        prompts=prompts,
        correct=torch.rand(n, generator=rng) < correct,
        usable=torch.rand(n, generator=rng) < 0.95,
    )


def largest_of_a_step(pool, **settings):
    objective = ContrastiveObjective(8, ContrastiveConfig(**settings), hidden_dim=8, embedding_dim=8)
    with LargestTensor() as mode:
        objective.step(pool)
    return mode.entries


@pytest.mark.parametrize(("negatives", "consolidation", "transferability"), SETTINGS)
def test_nothing_grows_with_the_square_of_the_pool(negatives, consolidation, transferability):
    settings = {"negatives": negatives, "consolidation": consolidation, "transferability": transferability}
    n, block_size = 600, 16
    small, large = (largest_of_a_step(large_pool(size), **settings, block_size=block_size) for size in (n, 2 * n))
    assert small <= block_size * n  # a block against everything is the largest there is
    assert large <= 2.1 * small
    assert largest_of_a_step(large_pool(n), **settings, block_size=None) > n * n / 10  # the measure sees what is there


@pytest.mark.parametrize(
    "shape",
    [
        {"domains": 1},  # every other rollout is of the own domain: no positives, and the term is 0
        {"domains": 2, "group": 599},  # a prompt that is larger than a block, a domain of one rollout
        {"group": 1},
        {"correct": 0.02},
        {"correct": 0.98},
    ],
)
def test_nor_with_lopsided_pools(shape):
    n = 600
    assert largest_of_a_step(large_pool(n, **shape), block_size=16, negatives="prompt") <= 16 * n


def test_random_positives_stream_too():
    assert largest_of_a_step(large_pool(600), transferability="random", block_size=16) <= 16 * 600


@pytest.mark.parametrize("block_size", [31, 64])
@pytest.mark.parametrize("shape", [{}, {"domains": 1}, {"domains": 2, "group": 250}, {"group": 1}, {"correct": 0.05}])
def test_a_step_is_the_same_in_blocks(shape, block_size):
    pool = large_pool(300, **shape).to(dtype=torch.float64)

    def step(size, **settings):
        config = ContrastiveConfig(block_size=size, **settings)
        objective = ContrastiveObjective(8, config, hidden_dim=8, embedding_dim=8, dtype=torch.float64)
        return objective.step(pool)

    for negatives in ("all", "prompt"):
        dense, blocks = step(None, negatives=negatives), step(block_size, negatives=negatives)
        assert torch.equal(blocks.positives, dense.positives)
        torch.testing.assert_close(blocks.feature_grads, dense.feature_grads, rtol=1e-10, atol=1e-14)
        assert blocks.metrics == pytest.approx(dense.metrics, rel=1e-10, abs=1e-10)


@pytest.mark.slow
def test_65536_rollouts_fit_in_4_gb():
    """One step in a process of its own, torch included; the same at a quarter of the size, to see that it is linear."""
    cases = [PoolCase(rollouts=n, percents=(50,), repeats=1) for n in (16_384, 65_536)]
    quarter, whole = measure_pool(cases)["pools"]
    assert whole["peak_mib"] < 4_000_000_000 / 2**20
    assert whole["above_idle_mib"] < 4.4 * quarter["above_idle_mib"]


@pytest.mark.slow
def test_float32_of_a_large_pool_is_close_to_float64():
    pool = large_pool(20_000, d=32)
    single, double = (
        ContrastiveObjective(32, hidden_dim=32, embedding_dim=32, dtype=dtype).step(pool)
        for dtype in (torch.float32, torch.float64)
    )
    assert single.loss.item() == pytest.approx(double.loss.item(), rel=1e-6)
    error = (single.feature_grads.double() - double.feature_grads).norm() / double.feature_grads.norm()
    assert error < 1e-4
