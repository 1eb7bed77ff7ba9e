import pytest
import torch

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective import ContrastiveConfig, RolloutPool, contrastive_loss, transferability
from mcpo_rl.objective.contrastive import contrastive_terms
from mcpo_rl.objective.transferability import centered_features


def pool_of(domains, prompts=None, correct=None, usable=None, features=None):
    n = len(domains)
    return RolloutPool(
        features=torch.eye(n, dtype=torch.float64) if features is None else features,
        domains=torch.tensor(domains),
        prompts=torch.arange(n) if prompts is None else torch.tensor(prompts),
        correct=torch.tensor([True] * (n - 1) + [False]) if correct is None else torch.tensor(correct),
        usable=None if usable is None else torch.tensor(usable),
    )


def chosen(pool, scores, **changed):
    config = ContrastiveConfig(transferability=lambda _: torch.as_tensor(scores), **changed)
    return contrastive_terms(torch.eye(len(pool), dtype=torch.float64), pool, config).positives.tolist()


SCORES = [[0.0, 0.9, 0.1, 0.8, 0.7, 0.95]] + [[0.5] * 6] * 5


def test_best_first_never_of_the_own_domain_never_incorrect():
    pool = pool_of([0, 0, 1, 1, 2, 1])
    assert chosen(pool, SCORES, num_positives=2)[0] == [3, 4]
    assert chosen(pool, SCORES, num_positives=4)[0] == [3, 4, 2, -1]
    assert chosen(pool, SCORES, num_positives=4)[5] == [-1] * 4


def test_one_rollout_of_each_prompt():
    pool = pool_of([0, 0, 1, 1, 2, 1], prompts=[0, 0, 7, 7, 8, 9])
    assert chosen(pool, SCORES, num_positives=4)[0] == [3, 4, -1, -1]


def test_the_threshold_lets_equals_pass():
    pool = pool_of([0, 0, 1, 1, 2, 1])
    assert chosen(pool, SCORES, num_positives=3, min_transferability=0.8)[0] == [3, -1, -1]
    assert chosen(pool, [[-2.0] * 6] * 6, num_positives=3)[0] == [-1] * 3


def test_ties_go_to_the_lowest_row():
    # Prompts in descending order: neither they nor the order of grouping may decide.
    pool = pool_of([0, 1, 1, 2, 1, 1], prompts=[9, 8, 7, 6, 7, 0])
    for block_size in (None, 1):
        assert chosen(pool, [[0.5] * 6] * 6, num_positives=3, block_size=block_size)[0] == [1, 2, 3]


def test_unusable_rollouts_are_not_chosen():
    pool = pool_of([0, 0, 1, 1, 2, 1], usable=[True, True, True, False, True, True])
    assert chosen(pool, SCORES, num_positives=2)[0] == [4, 2]


def test_centring_takes_the_domain_out():
    """Two domains far apart, the same two ways of reasoning in each: the partner is found across the gap."""
    offset, way = torch.tensor([100.0, 0.0, 0.0]), torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.2]])
    features = torch.cat([way + offset, way - offset, -offset[None]]).double()
    pool = pool_of([0, 0, 1, 1, 1], features=features)
    config = ContrastiveConfig(num_positives=1)
    assert contrastive_terms(features, pool, config).positives[:4, 0].tolist() == [2, 3, 0, 1]


def test_unusable_rollouts_do_not_move_the_mean():
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [50.0, 9.0]])
    pool = pool_of([0, 0, 0], features=features, usable=[True, True, False])
    assert centered_features(pool)[:2].tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_centring_in_chunks_is_the_same(make_ordinary_pool, monkeypatch):
    pool, rows = make_ordinary_pool(40), torch.tensor([3, 39, 0, 7])
    whole = centered_features(pool, torch.float64)
    monkeypatch.setattr(transferability, "_CHUNK", 5 * 3)  # three rows
    torch.testing.assert_close(centered_features(pool, torch.float64), whole)
    torch.testing.assert_close(centered_features(pool, torch.float64, rows), whole[rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_difference_from_the_mean_is_a_zero_vector(dtype):
    features = torch.full((7, 3), 0.1, dtype=dtype)  # 0.1 seven times, divided by 7, is not 0.1
    assert not centered_features(pool_of([0] * 7, features=features), dtype).any()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.zeros(6, 5), r"returned shape \(6, 5\); expected a tensor \(6, 6\)"),
        ([[0.0] * 6] * 6, "returned list; expected a tensor"),
        (torch.full((6, 6), float("nan")), "NaN or infinite"),
        (torch.full((6, 6), float("-inf")), "NaN or infinite"),
    ],
)
def test_a_scorer_that_misbehaves_is_named(returned, message):
    config = ContrastiveConfig(transferability=lambda pool: returned)
    with pytest.raises(ConfigError, match=message):
        contrastive_loss(torch.eye(6), pool_of([0, 0, 1, 1, 2, 1]), config)


def test_a_scorer_sees_the_pool_and_sends_no_gradient():
    pool = pool_of([0, 0, 1, 1, 2, 1])
    weight = torch.ones((), requires_grad=True)
    config = ContrastiveConfig(transferability=lambda p: weight * (p.features @ p.features.T))
    z = torch.eye(6, dtype=torch.float64, requires_grad=True)
    contrastive_loss(z, pool, config)[0].backward()
    assert weight.grad is None and z.grad is not None


def test_random_positives_follow_the_generator(make_ordinary_pool, make_z):
    pool, z = make_ordinary_pool(60), make_z(60)
    config = ContrastiveConfig(transferability="random")

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return [contrastive_terms(z, pool, config, generator).positives for _ in range(2)]

    first, again, other = draw(0), draw(0), draw(1)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])
    without = [contrastive_terms(z, pool, config).positives for _ in range(2)]
    assert torch.equal(*without)
