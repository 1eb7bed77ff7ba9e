import itertools
import math
import random

import pytest
import torch

from mcpo_rl.errors import PoolError
from mcpo_rl.objective import ContrastiveConfig, RolloutPool, contrastive_loss
from mcpo_rl.objective.contrastive import contrastive_terms

FORMS = list(itertools.product(("all", "domain", "prompt"), ("contrastive", "align")))


def random_config(seed, **fixed):
    pick = random.Random(seed).choice
    drawn = {
        "temperature": pick([0.05, 0.1, 1.0]),
        "num_positives": pick([1, 2, 4, 30]),
        "min_transferability": pick([0.0, -1.0, 0.3]),
        "share_weight": pick([1, 1, 0.5, 0]),
        "consolidate_weight": pick([1, 1, 0.3, 0]),
        "negatives": pick(["all", "domain", "prompt"]),
        "consolidation": pick(["contrastive", "align"]),
        "transferability": pick(["centered", "cosine"]),
        "block_size": pick([None, 1, 3, 1024]),
        "mutual_positives": pick([False, True]),
        "detach_positives": pick([False, True]),
    }
    return ContrastiveConfig(**drawn | fixed)


def gradient_of(z, pool, config):
    z = z.detach().clone().requires_grad_()
    loss, metrics = contrastive_loss(z, pool, config)
    return loss.detach(), torch.autograd.grad(loss, z)[0], metrics


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_equals_the_naive_loops(first, naive, make_pool, make_z):
    for seed in range(first, first + 50):
        pool, config = make_pool(seed, degenerate=seed % 3 == 0), random_config(seed)
        z = make_z(len(pool), seed=seed)
        oracle = naive.Pool(pool, z, config)
        terms = contrastive_terms(z, pool, config)
        context = f"seed {seed}: {config}"
        assert terms.loss.item() == pytest.approx(oracle.loss(), rel=1e-10, abs=1e-10), context
        assert terms.metrics == pytest.approx(oracle.metrics(), rel=1e-9, abs=1e-9), context
        for row, chosen in enumerate(terms.positives.tolist()):
            assert [p for p in chosen if p >= 0] == oracle.chosen.get(row, []), context
            scores = [oracle.t(row, p) if p >= 0 else 0.0 for p in chosen]
            assert terms.positive_scores[row].tolist() == pytest.approx(scores, abs=1e-9), context


@pytest.mark.parametrize("seed", range(60))
def test_gradient_equals_autograd_through_the_naive_loss(seed, naive, make_pool, make_z):
    pool, config = make_pool(seed, n=12), random_config(seed)
    z = make_z(12, seed=seed).requires_grad_()
    oracle = naive.Pool(pool, z.detach(), config)
    (expected,) = torch.autograd.grad(naive.differentiable_loss(z, oracle), z)
    torch.testing.assert_close(gradient_of(z, pool, config)[1], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("negatives", "consolidation"), FORMS)
@pytest.mark.parametrize("block_size", [None, 2])
def test_gradcheck(negatives, consolidation, block_size, make_ordinary_pool, make_z):
    pool = make_ordinary_pool(12, seed=1)
    config = ContrastiveConfig(negatives=negatives, consolidation=consolidation, block_size=block_size, temperature=0.5)
    z = make_z(12, m=3).requires_grad_()
    assert contrastive_loss(z, pool, config)[0].item() > 0
    assert torch.autograd.gradcheck(lambda x: contrastive_loss(x, pool, config)[0], z)


@pytest.mark.parametrize(("negatives", "consolidation"), FORMS)
@pytest.mark.parametrize(
    ("scorer", "variant"),
    [
        ("centered", {}),
        ("cosine", {"detach_positives": True}),
        ("random", {}),
        ("centered", {"mutual_positives": True}),
    ],
)
def test_streaming_equals_dense(negatives, consolidation, scorer, variant, make_ordinary_pool, make_z):
    pool = make_ordinary_pool(90)
    z = make_z(90)

    def run(block_size):
        config = ContrastiveConfig(
            negatives=negatives,
            consolidation=consolidation,
            transferability=scorer,
            block_size=block_size,
            **variant,
        )
        return *gradient_of(z, pool, config), contrastive_terms(z, pool, config).positives

    loss, gradient, metrics, positives = run(None)
    assert metrics["positives"] > 0 and metrics["in_domain_positives"] > 0
    for block_size in (1, 7, 32, 89):
        streamed = run(block_size)
        torch.testing.assert_close(streamed[0], loss, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(streamed[1], gradient, rtol=1e-10, atol=1e-10)
        assert streamed[2] == pytest.approx(metrics, rel=1e-10, abs=1e-10)
        assert torch.equal(streamed[3], positives)


def by_hand(**changed):
    """Two domains, one anchor and one negative each; all at right angles but the anchors, with s = 0.5."""
    z = torch.zeros(4, 4)
    z[0, 0] = z[1, 1] = z[3, 3] = 1
    z[2, 0], z[2, 2] = 0.5, math.sqrt(0.75)
    rows = torch.tensor([0, 0, 1, 1])
    pool = RolloutPool(
        features=torch.eye(4), domains=rows, prompts=rows, correct=torch.tensor([True, False, True, False])
    )
    return z, pool, ContrastiveConfig(**{"temperature": 0.5, "min_transferability": -1.0} | changed)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, math.log(1 + 2 * math.exp(-1))),
        ({"negatives": "domain"}, math.log(1 + math.exp(-1))),
        ({"negatives": "prompt", "temperature": 0.25}, math.log(1 + math.exp(-2))),
        ({"share_weight": 3}, 3 * math.log(1 + 2 * math.exp(-1))),
        ({"share_weight": 0}, 0.0),
    ],
)
def test_by_hand(changed, expected):
    loss, metrics = contrastive_loss(*by_hand(**changed))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert metrics["consolidate_loss"] == 0  # one correct rollout a domain: nothing to consolidate


def test_far_negatives_keep_their_digits():
    """log(1 + e^x) at x = 20.5, where torch's softplus would already answer x."""
    z, pool, config = by_hand(negatives="domain", temperature=0.5 / 20.5)
    z[2, 0] = -0.5
    loss = contrastive_loss(z.double(), pool, config)[0].item()
    assert loss == pytest.approx(20.5 + math.log1p(math.exp(-20.5)), rel=1e-13)


def test_metrics_by_hand():
    _, metrics = contrastive_loss(*by_hand())
    far, near = math.exp(-4), math.exp(-2)  # distances 2 (five pairs) and 1 (the anchors)
    assert metrics == pytest.approx(
        {
            "share_loss": math.log(1 + 2 * math.exp(-1)),
            "consolidate_loss": 0.0,
            "anchors": 2,
            "positives": 2,
            "in_domain_positives": 0,
            "negatives": 4,
            "transferability": -0.5 + 0.5,  # centred: (e0 - e1)/2 against (e2 - e3)/2
            "similarity/cross_positive": 0.5,
            "similarity/in_domain_positive": 0.0,
            "similarity/negative": 0.0,
            "alignment": 1.0,
            "uniformity": math.log((5 * far + near) / 6),
            "borrow/0/1": 1,
            "borrow/1/0": 1,
        },
        abs=1e-5,
    )
    assert all(type(value) is float for value in metrics.values())


def test_align_by_hand():
    z, pool, config = by_hand(consolidation="align", share_weight=0)
    pool = RolloutPool(
        features=pool.features,
        domains=torch.tensor([0, 1, 0, 1]),
        prompts=pool.prompts,
        correct=pool.correct,
    )
    assert contrastive_loss(z, pool, config)[0].item() == pytest.approx(0.5)


def labels(n=6, **changed):
    rows = torch.arange(n)
    good = {"domains": rows % 2, "prompts": rows, "correct": rows < 4, "usable": torch.ones(n, dtype=torch.bool)}
    return good | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"domains": torch.zeros(6, dtype=torch.int64)},
        {"correct": torch.zeros(6, dtype=torch.bool)},
        {"correct": torch.ones(6, dtype=torch.bool)},
        {"usable": torch.zeros(6, dtype=torch.bool)},
        {"usable": torch.arange(6) % 2 == 0},  # one domain is left
        {"usable": torch.arange(6) < 4},  # nothing incorrect is left
    ],
)
@pytest.mark.parametrize("consolidation", ["contrastive", "align"])
@pytest.mark.parametrize("n", [6, 0])
def test_no_part_is_exactly_zero(changed, consolidation, n, make_z):
    pool = RolloutPool(features=make_z(n), **{k: v[:n] for k, v in labels(6, **changed).items()})
    loss, gradient, metrics = gradient_of(make_z(n), pool, ContrastiveConfig(consolidation=consolidation))
    assert loss.item() == 0.0 and not gradient.any()
    counts = ("anchors", "positives", "in_domain_positives", "negatives", "share_loss", "consolidate_loss")
    assert all(metrics[name] == 0 for name in counts)
    assert all(math.isfinite(value) for value in metrics.values())


def test_anchors_without_negatives_in_scope_cost_nothing(make_z):
    # Each prompt is all right or all wrong: under the scope `prompt` no anchor has a negative.
    pool = RolloutPool(features=make_z(6), **labels())
    loss, gradient, metrics = gradient_of(make_z(6), pool, ContrastiveConfig(negatives="prompt"))
    assert loss.item() == 0.0 and not gradient.any()
    assert metrics["anchors"] == 4 and metrics["negatives"] == 0


def test_unusable_rollouts_have_no_part(make_ordinary_pool, make_z):
    pool, z = make_ordinary_pool(40), make_z(40)
    kept = pool.usable
    smaller = RolloutPool(
        features=pool.features[kept], domains=pool.domains[kept], prompts=pool.prompts[kept], correct=pool.correct[kept]
    )
    loss, gradient, metrics = gradient_of(z, pool, ContrastiveConfig())
    expected = gradient_of(z[kept], smaller, ContrastiveConfig())
    assert loss.item() > 0 and not kept.all() and not gradient[~kept].any()
    torch.testing.assert_close((loss, gradient[kept]), expected[:2])
    assert metrics == pytest.approx(expected[2])


@pytest.mark.parametrize(("negatives", "consolidation"), FORMS)
def test_the_order_of_rollouts_does_not_matter(negatives, consolidation, make_ordinary_pool, make_z):
    pool, z = make_ordinary_pool(50), make_z(50)
    config = ContrastiveConfig(negatives=negatives, consolidation=consolidation)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    shuffled = RolloutPool(
        features=pool.features[order],
        domains=pool.domains[order],
        prompts=pool.prompts[order],
        correct=pool.correct[order],
        usable=pool.usable[order],
    )
    loss, gradient, metrics = gradient_of(z, pool, config)
    expected = gradient_of(z[order], shuffled, config)
    assert metrics["positives"] > 0
    torch.testing.assert_close((loss, gradient[order]), expected[:2])
    assert metrics == pytest.approx(expected[2])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_lower_precision_comes_close(dtype, tolerance, make_ordinary_pool, make_z):
    pool, z = make_ordinary_pool(60), make_z(60)
    config = ContrastiveConfig()
    exact, exact_gradient, _ = gradient_of(z, pool, config)
    loss, gradient, _ = gradient_of(z.to(dtype), pool.to(dtype=dtype).to(dtype=torch.float64), config)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    assert loss.item() == pytest.approx(exact.item(), rel=max(tolerance, 1e-5) * 5)
    if dtype == torch.float32:
        torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-6)


def test_extreme_similarities_stay_finite(make_ordinary_pool, make_z):
    pool = make_ordinary_pool(40).to(dtype=torch.float32)
    z = make_z(40, dtype=torch.float32)
    z[pool.correct], z[~pool.correct] = z[0].clone(), -z[0].clone()
    for sign in (z, -z.abs(), torch.zeros_like(z)):
        loss, gradient, metrics = gradient_of(sign, pool, ContrastiveConfig(temperature=1e-3))
        assert loss.isfinite() and bool(gradient.isfinite().all()) and all(map(math.isfinite, metrics.values()))


def test_autocast_does_not_reach_inside(make_ordinary_pool, make_z):
    pool, z = make_ordinary_pool(40).to(dtype=torch.float32), make_z(40, dtype=torch.float32)
    outside = contrastive_loss(z, pool, ContrastiveConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = contrastive_loss(z, pool, ContrastiveConfig())
    assert torch.equal(inside[0], outside[0]) and inside[1] == outside[1]


def test_embeddings_that_do_not_fit_are_refused(make_ordinary_pool, make_z):
    pool = make_ordinary_pool(8)
    for z in (make_z(7), make_z(8)[0], make_z(8).long()):
        with pytest.raises(PoolError, match=r"expected floating point \(N, m\) with N = 8"):
            contrastive_loss(z, pool, ContrastiveConfig())
    with pytest.raises(PoolError, match="z is on meta, the pool on cpu"):
        contrastive_loss(make_z(8).to("meta"), pool, ContrastiveConfig())
