import io

import pytest
import torch

from mcpo_rl.errors import ConfigError, PoolError
from mcpo_rl.objective import ContrastiveConfig, ContrastiveHead, ContrastiveObjective, RolloutPool, contrastive_loss


def make(d=5, **changed):
    return ContrastiveObjective(d, **{"hidden_dim": 8, "embedding_dim": 4, "dtype": torch.float64} | changed)


def parameters(objective):
    return [p.detach().clone() for p in objective.head.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_step_equals_plain_autograd_and_adamw(make_ordinary_pool):
    pool, objective = make_ordinary_pool(40), make(learning_rate=0.01, weight_decay=0.1)
    head = ContrastiveHead(5, hidden_dim=8, embedding_dim=4, dtype=torch.float64)
    assert same(head.parameters(), objective.head.parameters())
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        h = pool.features.clone().requires_grad_()
        z = head(h)
        loss, metrics = contrastive_loss(z, pool, objective.config)
        optimizer.zero_grad()
        loss.backward()
        step = objective.step(pool)
        assert torch.equal(step.loss, loss.detach()) and step.metrics == metrics
        torch.testing.assert_close(step.feature_grads, h.grad, rtol=1e-12, atol=1e-14)
        assert torch.equal(step.embeddings, z.detach())
        optimizer.step()
        torch.testing.assert_close(parameters(objective), list(head.parameters()), rtol=1e-12, atol=1e-14)
    assert objective.steps == 3


def test_feature_gradients_by_finite_differences(make_ordinary_pool):
    pool, objective = make_ordinary_pool(20), make(config=ContrastiveConfig(temperature=0.5))

    def loss(h):
        moved = RolloutPool(
            features=pool.features,  # the choice of positives sends no gradient
            domains=pool.domains,
            prompts=pool.prompts,
            correct=pool.correct,
            usable=pool.usable,
        )
        return contrastive_loss(objective.head(h), moved, objective.config)[0].item()

    gradients, epsilon = objective.evaluate(pool).feature_grads, 1e-6
    for i, j in [(0, 0), (3, 2), (11, 4), (19, 1)]:
        nudge = torch.zeros_like(pool.features)
        nudge[i, j] = epsilon
        slope = (loss(pool.features + nudge) - loss(pool.features - nudge)) / (2 * epsilon)
        assert gradients[i, j].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_rollouts_without_a_part_have_zero_rows(make_ordinary_pool):
    pool = make_ordinary_pool(40)
    gradients = make().step(pool).feature_grads
    assert not pool.usable.all() and not gradients[~pool.usable].any() and gradients[pool.usable].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_of_every_dtype(dtype, make_ordinary_pool):
    pool = make_ordinary_pool(30)
    low = make(dtype=torch.float32).step(pool.to(dtype=dtype))
    same_values = make(dtype=torch.float32).step(pool.to(dtype=dtype).to(dtype=torch.float32))
    assert low.loss.dtype == low.feature_grads.dtype == low.embeddings.dtype == torch.float32
    torch.testing.assert_close(low.feature_grads, same_values.feature_grads, rtol=1e-4, atol=1e-6)


def test_the_loss_falls(make_ordinary_pool):
    pool, objective = make_ordinary_pool(40), make(learning_rate=0.01)
    first = objective.step(pool).loss
    for _ in range(30):
        last = objective.step(pool).loss
    assert last < 0.7 * first


def empty(pool):
    return RolloutPool(
        features=pool.features,
        domains=pool.domains,
        prompts=pool.prompts,
        correct=torch.zeros_like(pool.correct),
    )


def test_an_empty_pool_leaves_the_head_alone(make_ordinary_pool):
    pool, objective = make_ordinary_pool(40), make(weight_decay=0.5)
    objective.step(pool)  # gives the optimizer momentum
    before, moments = parameters(objective), objective.state_dict()["optimizer"]["state"][0]["exp_avg"].clone()
    step = objective.step(empty(pool))
    assert step.loss.item() == 0.0 and not step.feature_grads.any() and bool((step.positives == -1).all())
    assert step.embeddings.shape == (40, 4)
    assert same(before, parameters(objective))
    assert torch.equal(moments, objective.state_dict()["optimizer"]["state"][0]["exp_avg"])


def test_evaluate_gives_the_same_and_changes_nothing(make_ordinary_pool):
    pool, objective = make_ordinary_pool(40), make(config=ContrastiveConfig(transferability="random"))
    before, state = parameters(objective), objective.state_dict()["generator"].clone()
    evaluated = objective.evaluate(pool)
    assert same(before, parameters(objective)) and objective.steps == 0
    assert torch.equal(objective.state_dict()["generator"], state)
    step = objective.step(pool)
    assert torch.equal(step.loss, evaluated.loss) and torch.equal(step.positives, evaluated.positives)
    assert torch.equal(step.feature_grads, evaluated.feature_grads) and step.metrics == evaluated.metrics
    assert not same(before, parameters(objective))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_engines_may_call_from_without_gradients(context, make_ordinary_pool):
    pool, expected = make_ordinary_pool(40), make()
    objective = make()
    for _ in range(2):
        with context():
            features = pool.features + 0.0  # made in that mode
            inside = RolloutPool(
                features=features,
                domains=pool.domains + 0,
                prompts=pool.prompts + 0,
                correct=pool.correct & True,
                usable=pool.usable & True,
            )
            step = objective.step(inside)
        assert torch.equal(step.feature_grads, expected.step(pool).feature_grads)
    assert same(parameters(objective), parameters(expected))


def test_autocast_does_not_reach_inside(make_ordinary_pool):
    pool = make_ordinary_pool(40).to(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = make(dtype=torch.float32).step(pool)
    assert torch.equal(inside.feature_grads, make(dtype=torch.float32).step(pool).feature_grads)


@pytest.mark.parametrize("scorer", ["centered", "random"])
def test_a_resumed_objective_continues_exactly(scorer, make_ordinary_pool):
    config = ContrastiveConfig(transferability=scorer)
    straight = make(config=config)
    pools = [make_ordinary_pool(40, seed=seed) for seed in (1, 2, 14, 5)]
    for pool in pools[:2]:
        straight.step(pool)
    file = io.BytesIO()
    torch.save(straight.state_dict(), file)
    file.seek(0)
    resumed = make(config=config, seed=99)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for pool in pools[2:]:
        expected, step = straight.step(pool), resumed.step(pool)
        assert torch.equal(step.loss, expected.loss) and torch.equal(step.positives, expected.positives)
        assert torch.equal(step.feature_grads, expected.feature_grads)
    assert same(parameters(straight), parameters(resumed)) and resumed.steps == straight.steps == 4


def test_a_head_of_another_width_is_refused():
    with pytest.raises(ConfigError, match="saved contrastive head has embedding_dim 4, this one 6"):
        make(embedding_dim=6).load_state_dict(make().state_dict())
    with pytest.raises(ConfigError, match="saved contrastive head has feature_dim 5, this one 7"):
        make(d=7).load_state_dict(make().state_dict())
    with pytest.raises(ConfigError, match=r"Not the state .*: optimizer, generator, steps, widths missing"):
        make().load_state_dict({"head": {}})


def test_pools_that_do_not_fit_are_refused(make_ordinary_pool):
    with pytest.raises(PoolError, match="features have width 3, the head was made for 5"):
        make().step(make_ordinary_pool(10, d=3))
    with pytest.raises(PoolError, match="The pool is on cpu, the head on meta"):
        make(device="meta").step(make_ordinary_pool(10))


@pytest.mark.parametrize(
    "changed", [{"dtype": torch.bfloat16}, {"learning_rate": 0}, {"weight_decay": -1}, {"embedding_dim": 0}]
)
def test_settings_that_cannot_work_are_refused(changed):
    with pytest.raises(ConfigError, match="expected"):
        make(**changed)


def test_the_global_random_state_is_never_touched(make_ordinary_pool):
    pool = make_ordinary_pool(40)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    objective = make(config=ContrastiveConfig(transferability="random"))
    objective.step(pool)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_head_is_its_seed():
    one, again, other = (ContrastiveHead(6, hidden_dim=5, embedding_dim=3, seed=seed) for seed in (0, 0, 1))
    assert same(one.parameters(), again.parameters()) and not same(one.parameters(), other.parameters())
    double = ContrastiveHead(6, hidden_dim=5, embedding_dim=3, dtype=torch.float64)
    assert same(one.parameters(), [p.float() for p in double.parameters()])
    assert one.dtype == torch.float32 and double.dtype == torch.float64


def test_the_head_gives_unit_rows_whatever_the_scale():
    head = ContrastiveHead(6, hidden_dim=5, embedding_dim=3)
    h = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    z = head(h)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(head(1e4 * h), z, rtol=1e-3, atol=1e-3)
    assert bool(head(torch.zeros(1, 6)).isfinite().all())
    assert head(h.bfloat16()).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_numbers_twice_and_those_of_the_cpu(make_ordinary_pool):
    pool = make_ordinary_pool(400)
    steps = [make(device="cuda").step(pool.to("cuda")) for _ in range(2)]
    assert torch.equal(steps[0].feature_grads, steps[1].feature_grads)
    torch.testing.assert_close(steps[0].feature_grads.cpu(), make().step(pool).feature_grads, rtol=1e-9, atol=1e-12)
