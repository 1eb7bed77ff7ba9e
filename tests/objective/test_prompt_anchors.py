"""Prompts as anchors: against averages by loops and autograd through them."""

import pytest
import torch

from mcpo_rl.objective import ContrastiveConfig, ContrastiveObjective, RolloutPool, contrastive_loss
from mcpo_rl.objective.prompt_anchors import merge_prompts


def groups_of(pool):
    """The rollouts of each row, by the first one."""
    found = {}
    for row in range(len(pool)):
        together = bool(pool.usable[row] and pool.correct[row])
        key = (int(pool.domains[row]), int(pool.prompts[row])) if together else row
        found.setdefault(key, []).append(row)
    return list(found.values())


@pytest.mark.parametrize("seed", range(40))
def test_rows_equal_the_naive_averages(seed, make_pool):
    pool = make_pool(seed, degenerate=seed % 3 == 0)
    merged, groups = merge_prompts(pool), groups_of(pool)
    expected = torch.stack([pool.features[rows].mean(dim=0) for rows in groups])
    torch.testing.assert_close(merged.pool.features, expected, rtol=1e-12, atol=1e-12)
    assert merged.sizes.tolist() == [len(rows) for rows in groups]
    assert merged.first.tolist() == [rows[0] for rows in groups]
    for row, members in enumerate(groups):
        assert all(int(merged.row_of[member]) == row for member in members)
        for name in ("domains", "prompts", "correct", "usable"):
            assert {bool(x) if name in ("correct", "usable") else int(x) for x in getattr(pool, name)[members]} == {
                getattr(merged.pool, name)[row].item()
            }


def make(**settings):
    config = ContrastiveConfig(**settings)
    return ContrastiveObjective(5, config, hidden_dim=8, embedding_dim=4, dtype=torch.float64)


@pytest.mark.parametrize("settings", [{}, {"negatives": "prompt", "consolidation": "align"}, {"block_size": 3}])
def test_gradients_equal_autograd_through_the_averages(settings, make_ordinary_pool):
    pool, objective = make_ordinary_pool(60), make(anchors="prompt", **settings)
    h = pool.features.clone().requires_grad_()
    groups = groups_of(pool)
    assert max(map(len, groups)) > 2
    first = torch.tensor([rows[0] for rows in groups])
    rows = RolloutPool(
        features=torch.stack([h[members].mean(dim=0) for members in groups]),
        domains=pool.domains[first],
        prompts=pool.prompts[first],
        correct=pool.correct[first],
        usable=pool.usable[first],
    )
    z = objective.head(rows.features)
    loss, metrics = contrastive_loss(z, rows, objective.config)
    (expected,) = torch.autograd.grad(loss, h)
    assert metrics["positives"] > 2 and metrics["in_domain_positives"] > 2
    step = objective.step(pool)
    assert step.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert step.metrics == pytest.approx(metrics, rel=1e-12)
    torch.testing.assert_close(step.feature_grads, expected, rtol=1e-10, atol=1e-14)
    for row, members in enumerate(groups):
        for member in members:
            torch.testing.assert_close(step.embeddings[member], z[row].detach())


def test_positives_are_named_by_the_first_rollout(make_ordinary_pool):
    pool = make_ordinary_pool(60)
    step, firsts = make(anchors="prompt").step(pool), {rows[0] for rows in groups_of(pool)}
    for row, chosen in enumerate(step.positives.tolist()):
        kept = [p for p in chosen if p >= 0]
        assert all(p in firsts and pool.anchors[p] and pool.domains[p] != pool.domains[row] for p in kept)
        assert not kept or bool(pool.anchors[row])
    siblings = next(rows for rows in groups_of(pool) if len(rows) > 1)
    assert torch.equal(step.positives[siblings[0]], step.positives[siblings[1]])
    assert (step.positives[siblings[0]] >= 0).any()


def test_copies_of_a_correct_rollout_change_nothing(make_ordinary_pool):
    pool = make_ordinary_pool(40)
    rows = groups_of(pool)
    alone = next(members[0] for members in rows if len(members) == 1 and pool.anchors[members[0]])
    again = torch.cat([torch.arange(40), torch.tensor([alone])])
    more = RolloutPool(
        **{name: getattr(pool, name)[again] for name in ("features", "domains", "prompts", "correct", "usable")}
    )
    one, two = make(anchors="prompt").step(pool), make(anchors="prompt").step(more)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-12)
    torch.testing.assert_close(two.feature_grads[alone] * 2, one.feature_grads[alone])
    assert make().step(more).loss != make().step(pool).loss


def test_one_correct_rollout_a_prompt_is_as_without(make_ordinary_pool):
    pool = make_ordinary_pool(40)
    apart = RolloutPool(
        features=pool.features,
        domains=pool.domains,
        prompts=torch.arange(40),
        correct=pool.correct,
        usable=pool.usable,
    )
    one, other = make(anchors="prompt").step(apart), make().step(apart)
    assert one.metrics == other.metrics and torch.equal(one.positives, other.positives)
    assert torch.equal(one.feature_grads, other.feature_grads)
