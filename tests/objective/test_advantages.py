"""Contrastive advantages against naive loops and by hand."""

import math

import pytest
import torch

from mcpo_rl.objective import ContrastiveConfig, RolloutPool
from mcpo_rl.objective.advantages import contrastive_advantages, transfer_scores


def naive_score(oracle, i):
    to = [j for j in oracle.right if oracle.dom[j] != oracle.dom[i]]
    away = [n for n in oracle.wrong if oracle.q[n] != oracle.q[i]]
    if not (oracle.u[i] and to and away):
        return math.nan
    return sum(oracle.t(i, j) for j in to) / len(to) - sum(oracle.t(i, n) for n in away) / len(away)


@pytest.mark.parametrize("seed", range(60))
def test_scores_equal_the_naive_loops(seed, naive, make_pool, make_z):
    pool = make_pool(seed, degenerate=seed % 3 == 0)
    oracle = naive.Pool(pool, make_z(len(pool)), ContrastiveConfig())
    expected = [naive_score(oracle, i) for i in range(len(pool))]
    assert transfer_scores(pool).tolist() == pytest.approx(expected, rel=1e-8, abs=1e-8, nan_ok=True)


def test_scores_are_not_all_missing(make_ordinary_pool):
    assert transfer_scores(make_ordinary_pool(40)).isfinite().sum() > 30


@pytest.mark.parametrize("seed", range(8))
def test_groups_equal_the_naive_loops(seed, make_ordinary_pool):
    pool = make_ordinary_pool(40, seed=seed)
    asked = (torch.arange(40) // 4) % 2 == 0
    found = contrastive_advantages(pool, asked, 4)
    scores, pairs = transfer_scores(pool), []
    for first in range(0, 40, 4):
        rows = [row for row in range(first, first + 4) if scores[row].isfinite()]
        group = scores[rows]
        gets = bool(asked[first]) and len(rows) > 1
        for row in range(first, first + 4):
            assert bool(found.given[row]) == (gets and row in rows)
            expected = (scores[row] - group.mean()) / (group.std() + 1e-4) if found.given[row] else 0.0
            assert float(found.values[row]) == pytest.approx(float(expected), rel=1e-9)
        pairs += [
            float(scores[a] > scores[b]) for a in rows for b in rows if bool(pool.correct[a]) and not pool.correct[b]
        ]
    assert 0 < found.given.sum() < 40
    assert found.agreement == pytest.approx(sum(pairs) / len(pairs))


def by_hand(correct):
    """Two domains around means of 0; along the first axis lies what the second domain's correct rollout does."""
    h = [[1, 0], [-1, 0], [0, 1], [0, -1], [2, 0], [-2, 0], [0, 2], [0, -2]]
    rows = torch.arange(8)
    return RolloutPool(
        features=torch.tensor(h, dtype=torch.float64), domains=rows // 4, prompts=rows // 4, correct=correct
    )


def test_by_hand():
    pool = by_hand(torch.arange(8) == 4)
    # T of the first group is rollout 4; W are 5, 6, 7, whose unit vectors add up to (-1, 0).
    assert transfer_scores(pool)[:4].tolist() == pytest.approx([1 + 1 / 3, -1 - 1 / 3, 0, 0])
    found = contrastive_advantages(pool, torch.arange(8) < 4, 4)
    one = (4 / 3) / (math.sqrt(2 * (4 / 3) ** 2 / 3) + 1e-4)
    assert found.values.tolist() == pytest.approx([one, -one, 0, 0, 0, 0, 0, 0])
    assert found.given.tolist() == [True] * 4 + [False] * 4
    assert math.isnan(found.agreement)  # the second group's T is empty: nothing of the first domain is correct


def test_the_agreement_by_hand():
    # Each group's correct rollout looks like the other's: 4 and 0 above two of their siblings, as good as none.
    pool = by_hand(torch.arange(8) % 4 == 0)
    assert contrastive_advantages(pool, torch.zeros(8, dtype=torch.bool), 4).agreement == 1.0
    # The other's correct rollout is the opposite: below all.
    pool = by_hand((torch.arange(8) == 0) | (torch.arange(8) == 5))
    assert contrastive_advantages(pool, torch.zeros(8, dtype=torch.bool), 4).agreement == 0.0


@pytest.mark.parametrize("correct", [torch.zeros(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool)])
def test_nothing_to_compare_with(correct):
    found = contrastive_advantages(by_hand(correct), torch.ones(8, dtype=torch.bool), 4)
    assert not found.given.any() and not found.values.any() and math.isnan(found.agreement)
