"""The order in which the data loader gets its rows: replayed over thousands of batches, ranks and resumes."""

from __future__ import annotations

import random

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch.utils.data import BatchSampler, DataLoader
from trl.trainer.utils import RepeatSampler

from mcpo_rl.data.mixture import BatchOutcome, DomainMixture, DomainOutcome, mixture_options
from mcpo_rl.trainers.trl.sampling.mixture_sampler import MixtureSampler, batches_drawn_ahead

ROWS = {"math": 90, "code": 61, "logic": 35}
DOMAINS = [name for name, count in ROWS.items() for _ in range(count)]
G = 2


class Counted:
    """A mixture that says which batches were asked for."""

    def __init__(self, mixture):
        self.mixture, self.drawn = mixture, []

    def batch(self, n):
        self.drawn.append(n)
        return self.mixture.batch(n)

    def __len__(self):
        return len(self.mixture)


def mixture(prompts, curriculum="worst_domain", lag=1):
    return DomainMixture(
        DOMAINS, mixture_options({"curriculum": curriculum}), prompts_per_batch=prompts, seed=3, lag=lag
    )


def items_of_rank(sampler, ranks, rank, prompts, skipped=0):
    """Yield the rows that accelerate gives one rank, item by item."""
    batches = BatchSampler(sampler, prompts * G // ranks, drop_last=False)
    return iter(SkipBatchSampler(BatchSamplerShard(batches, ranks, rank), skipped))


def make_sampler(mixed, prompts, repeats):
    return MixtureSampler(mixed, prompts_per_batch=prompts, num_generations=G, repeats=repeats)


def accuracy_of(n, name):
    return random.Random(f"{n}{name}").random()


def outcome_of(n):
    return BatchOutcome(
        domains={name: DomainOutcome(groups=2, informative=1, accuracy=accuracy_of(n, name)) for name in ROWS}
    )


def test_the_layout_is_trls():
    class InOrder:
        """What TRL's sampler draws without shuffling."""

        def batch(self, n):
            return [3 * n, 3 * n + 1, 3 * n + 2]

        def __len__(self):
            return 3

    theirs = RepeatSampler(list(range(11)), mini_repeat_count=2, batch_size=3, repeat_count=4, shuffle=False)
    ours = MixtureSampler(InOrder(), prompts_per_batch=3, num_generations=2, repeats=4)
    assert list(ours) == list(theirs) and len(ours) == len(theirs)


def replay(mixtures, samplers, *, repeats, first, stop, passed_over=0):
    """Go through batches `first` to `stop` as a training on one rank for each mixture would.

    Return for each batch its rows (all ranks together, as loaded), its replacements, the asked share; and the state
    before `stop`.
    """
    ranks, seen, n = len(mixtures), [], first
    while n < stop:
        loaders = [items_of_rank(sampler, ranks, rank, 8, passed_over) for rank, sampler in enumerate(samplers)]
        for item in range(passed_over, len(mixtures[0]) * repeats):
            rows = [row for loader in loaders for row in next(loader)]
            if item % repeats == 0:
                missing = ["math", "code", "math"][: int(4 * accuracy_of(n, "replaced"))]
                drawn = [one.mixture.replacements(n, missing) for one in mixtures]
                assert all(other == drawn[0] for other in drawn)
                seen.append((rows, drawn[0], mixtures[0].mixture.asked(n)["math"]))
                for one in mixtures:
                    one.mixture.observe(n, outcome_of(n))
            else:
                assert rows == seen[-1][0]
            if item % repeats == repeats - 1:
                n += 1
                if n == stop:
                    break
        else:
            assert all(next(loader, None) is None for loader in loaders)
        passed_over = 0
    return seen, mixtures[0].mixture.state_dict(n)


def fresh(ranks, repeats):
    mixtures = [Counted(mixture(8, lag=2)) for _ in range(ranks)]
    return mixtures, [make_sampler(one, 8, repeats) for one in mixtures]


@pytest.mark.parametrize(
    ("ranks", "batches"), [(2, 100), (4, 100), *(pytest.param(n, 3000, marks=pytest.mark.slow) for n in (2, 4))]
)
def test_batches_are_the_same_on_any_number_of_ranks(ranks, batches):
    found = [replay(*fresh(count, 1), repeats=1, first=0, stop=batches) for count in (1, ranks)]
    assert found[0] == found[1]
    plain = mixture(8, lag=2)
    for n, (rows, drawn, _) in enumerate(found[0][0]):
        assert rows == [row for row in plain.batch(n) for _ in range(G)]
        assert drawn == plain.replacements(n, [DOMAINS[row] for row in drawn])
        plain.observe(n, outcome_of(n))


@pytest.mark.parametrize("seed", range(4))
def test_a_resumed_order_is_the_uninterrupted_one(seed):
    """At random places, on other numbers of ranks, with replacements: item for item, and nothing old is asked for."""
    place = random.Random(seed)
    repeats, length = place.choice([1, 2, 3]), len(mixture(8))
    end, stop = 3 * length, place.choice([length, place.randrange(1, 3 * length)])
    straight, _ = replay(*fresh(place.choice([1, 2]), repeats), repeats=repeats, first=0, stop=end)
    before, state = replay(*fresh(place.choice([1, 2]), repeats), repeats=repeats, first=0, stop=stop)
    assert before == straight[:stop]
    mixtures, samplers = fresh(place.choice([1, 2, 4]), repeats)
    passed_over = stop % length * repeats
    for one, sampler in zip(mixtures, samplers, strict=True):
        one.mixture.load_state_dict(state)
        sampler.resume(stop, passed_over=passed_over)
        assert len(sampler) == length * repeats * 8 * G
    after, _ = replay(mixtures, samplers, repeats=repeats, first=stop, stop=end, passed_over=passed_over)
    assert after == straight[stop:]
    assert all(one.drawn[0] == stop for one in mixtures)


def test_in_the_middle_of_a_batch_it_goes_on_with_the_same_batch():
    counted = Counted(mixture(8, None))
    sampler = make_sampler(counted, 8, 3)
    sampler.resume(0, passed_over=2)
    items = torch.tensor(list(sampler)[: 4 * 8 * G]).view(4, -1)
    assert not items[:2].any()  # never loaded
    assert items[2].tolist() == [row for row in mixture(8, None).batch(0) for _ in range(G)]
    assert counted.drawn == list(range(len(counted)))


@pytest.mark.parametrize(
    ("repeats", "accumulation", "workers"),
    [(1, 1, 0), (2, 2, 0), (4, 2, 0), (2, 4, 0), (3, 2, 0), (1, 4, 0), (1, 1, 2), (2, 2, 1), (4, 2, 1)],
)
def test_how_far_a_loader_draws_ahead(repeats, accumulation, workers):
    """Against PyTorch's own loader, handled as transformers and accelerate do."""
    counted = Counted(mixture(4, None))
    sampler = make_sampler(counted, 4, repeats)
    loader = DataLoader(DOMAINS, batch_size=4 * G, sampler=sampler, num_workers=workers, collate_fn=lambda rows: 0)
    items = iter(loader)
    next(items)  # accelerate's look-ahead
    furthest = 0
    for step in range(6):
        for _ in range(accumulation):
            next(items)
        for item in range(step * accumulation, (step + 1) * accumulation):
            if item % repeats == 0:
                furthest = max(furthest, counted.drawn[-1] - item // repeats)
    ahead = batches_drawn_ahead(repeats=repeats, accumulation=accumulation, workers=workers, prefetch_factor=None)
    assert furthest == ahead if (repeats % accumulation == 0 or accumulation % repeats == 0) else furthest <= ahead
