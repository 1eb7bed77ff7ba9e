"""Large pools: what is held in memory grows with N, not with N x N, and the result stays that of the dense form."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mcpo_rl.objective import ContrastiveConfig, ContrastiveObjective, RolloutPool

SETTINGS = list(itertools.product(("all", "domain", "prompt"), ("contrastive", "align"), ("centered", "cosine")))


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
