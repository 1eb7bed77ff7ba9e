import importlib.util
from pathlib import Path

import pytest
import torch

from mcpo_rl.objective import RolloutPool


def _load_naive():
    spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def naive():
    """The independent oracle."""
    return _load_naive()


def random_pool(seed, n=None, d=5, dtype=torch.float64, degenerate=False):
    """A random pool of up to 20 rollouts; where `degenerate`, one drawn from the corners of the space of pools."""
    rng = torch.Generator().manual_seed(seed)

    def draw(high, low=0):
        return int(torch.randint(low, high, (), generator=rng))

    n = draw(21, 1) if n is None else n
    domains = torch.randint(0, draw(5, 1), (n,), generator=rng) * 3 - 2
    prompts = torch.randint(0, draw(9, 1), (n,), generator=rng) + 10 * domains * draw(2)
    correct = torch.rand(n, generator=rng) < torch.rand((), generator=rng)
    usable = torch.rand(n, generator=rng) < 0.5 + torch.rand((), generator=rng)
    features = torch.randn(n, d, generator=rng, dtype=torch.float64)
    if degenerate:
        kind = draw(8)
        domains = domains * 0 if kind == 0 else torch.arange(n) if kind == 6 else domains
        correct = torch.zeros_like(correct) if kind == 1 else torch.ones_like(correct) if kind == 2 else correct
        usable = torch.zeros_like(usable) if kind == 3 else usable
        features = torch.ones_like(features) * 0.1 if kind == 4 else features * 1e6 if kind == 5 else features
        features = features[torch.randint(0, n, (n,), generator=rng)] if kind == 7 else features
    return RolloutPool(features=features.to(dtype), domains=domains, prompts=prompts, correct=correct, usable=usable)


def ordinary_pool(n, d=5, seed=0, dtype=torch.float64):
    """Three domains, prompts of four rollouts, about half correct, nine in ten usable: every set has members."""
    rng = torch.Generator().manual_seed(seed)
    prompts = torch.arange(n) // 4
    return RolloutPool(
        features=torch.randn(n, d, generator=rng, dtype=torch.float64).to(dtype),
        domains=prompts % 3,
        prompts=prompts,
        correct=torch.rand(n, generator=rng) < 0.5,
        usable=torch.rand(n, generator=rng) < 0.9,
    )


@pytest.fixture(scope="session")
def make_ordinary_pool():
    return ordinary_pool


@pytest.fixture(scope="session")
def make_pool():
    return random_pool


@pytest.fixture(scope="session")
def make_z():
    def make(n, m=4, seed=0, dtype=torch.float64):
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.randn(n, m, generator=rng, dtype=torch.float64)
        return torch.nn.functional.normalize(drawn, dim=1).to(dtype)

    return make
