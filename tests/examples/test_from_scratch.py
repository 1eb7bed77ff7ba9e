"""The one-file example is the same method as the library: held to it in float64."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mcpo_rl.objective import ContrastiveConfig, ContrastiveObjective, RolloutPool, contrastive_loss

EXAMPLE = Path(__file__).parents[2] / "examples" / "mcpo_from_scratch.py"
N, T, C, VOCAB = 48, 9, 6, 40


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("mcpo_from_scratch", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def rollouts(example):
    """48 rollouts of 12 prompts in 3 domains, ragged, a tenth of them without a verdict."""
    rng = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, C + 1, (N,), generator=rng)
    mask = (torch.arange(C) < lengths[:, None]).double()
    prompt = torch.arange(N) // 4
    reward = (torch.rand(N, generator=rng) < 0.5).double()
    reward[torch.rand(N, generator=rng) < 0.1] = float("nan")
    return example.Rollouts(
        ids=torch.randint(0, VOCAB, (N, T), generator=rng),
        attention=torch.cat([torch.ones(N, T - C), mask], dim=1).long(),
        mask=mask,
        prompt=prompt,
        domain=prompt % 3,
        reward=reward,
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).double().eval()


def heads(example, d):
    """The library's objective and the example's head with the same parameters."""
    objective = ContrastiveObjective(d, ContrastiveConfig(), hidden_dim=8, embedding_dim=6, dtype=torch.float64)
    head = example.Head(d, hidden=8, m=6).double()
    head.load_state_dict(objective.head.state_dict())
    return objective, head


def pool_of(rollouts, h):
    return RolloutPool(
        features=h,
        domains=rollouts.domain,
        prompts=rollouts.prompt,
        correct=rollouts.correct,
        usable=rollouts.usable,
    )


def test_it_is_short():
    assert len(EXAMPLE.read_text().splitlines()) <= 300


def test_its_settings_are_the_library_s_defaults(example):
    config = ContrastiveConfig()
    assert config.temperature == example.TEMPERATURE and config.num_positives == example.NUM_POSITIVES
    assert config.min_transferability == example.MIN_TRANSFERABILITY


@pytest.mark.parametrize("seed", range(5))
def test_same_losses_and_positives(example, rollouts, seed):
    rng = torch.Generator().manual_seed(seed)
    h = torch.randn(N, 5, generator=rng, dtype=torch.float64)
    z = torch.nn.functional.normalize(torch.randn(N, 4, generator=rng, dtype=torch.float64), dim=1)
    t = example.transferability(h, rollouts.domain, rollouts.usable)
    share, consolidate = example.contrastive_losses(z, t, rollouts)
    loss, metrics = contrastive_loss(z, pool_of(rollouts, h), ContrastiveConfig())
    assert metrics["share_loss"] == pytest.approx(share.item(), rel=1e-9)
    assert metrics["consolidate_loss"] == pytest.approx(consolidate.item(), rel=1e-9)
    assert loss.item() == pytest.approx((share + consolidate).item(), rel=1e-9)


def test_same_feature_gradients_and_head_update(example, rollouts, model):
    objective, head = heads(example, 16)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(3):
        losses, g = example.pool_phase(model, head, optimizer, rollouts, micro=N)
        with torch.no_grad():
            h = example.pool_hidden(example.forward(model, rollouts, slice(0, N))[1], rollouts.mask)
        step = objective.step(pool_of(rollouts, h))
        assert step.loss.item() == pytest.approx(sum(losses), rel=1e-9)
        torch.testing.assert_close(g, step.feature_grads, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(list(head.parameters()), list(objective.head.parameters()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("empty", ["nothing correct", "nothing incorrect", "one domain", "no verdicts"])
def test_nothing_to_compare_is_exactly_zero(example, rollouts, model, empty):
    if empty == "one domain":
        rollouts.domain = torch.zeros_like(rollouts.domain)
    else:
        value = {"nothing correct": 0.0, "nothing incorrect": 1.0, "no verdicts": float("nan")}[empty]
        rollouts.reward = torch.full_like(rollouts.reward, value)
    _, head = heads(example, 16)
    before = [p.detach().clone() for p in head.parameters()]
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.1)
    losses, g = example.pool_phase(model, head, optimizer, rollouts, micro=7)
    assert losses == [0.0, 0.0] and not g.any()
    assert all(torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))
    assert example.advantages(rollouts.reward, rollouts.prompt).isfinite().all()


@pytest.mark.parametrize("micro", [1, 7, 16, N])
def test_two_phases_equal_one_giant_backward(example, rollouts, model, micro):
    weight = 0.3
    _, head = heads(example, 16)
    everything = slice(0, N)
    logp, hidden = example.forward(model, rollouts, everything)
    h = example.pool_hidden(hidden, rollouts.mask)
    t = example.transferability(h.detach(), rollouts.domain, rollouts.usable)
    policy = example.policy_loss(
        logp, example.advantages(rollouts.reward, rollouts.prompt), rollouts.mask, rollouts.mask.sum()
    )
    contrastive = sum(example.contrastive_losses(head(h), t, rollouts))
    expected = torch.autograd.grad(policy + weight * contrastive, list(model.parameters()))

    optimizer = torch.optim.AdamW(head.parameters())
    _, g = example.pool_phase(model, head, optimizer, rollouts, micro)
    value, _ = example.policy_phase(model, rollouts, weight * g, micro)
    assert value == pytest.approx(policy.item(), rel=1e-9, abs=1e-12) and contrastive.item() > 0
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-9 * gradient.abs().max().item())


def policy_arguments(example, model, rollouts):
    logp, _ = example.forward(model, rollouts, slice(0, N))
    return logp, example.advantages(rollouts.reward, rollouts.prompt), rollouts.mask, rollouts.mask.sum()


def test_the_policy_norm_is_that_of_a_rigid_shift(example, rollouts, model):
    """||dL_policy/dh||: per rollout the sum over its completion's tokens of the gradient on the hidden states."""
    states = []
    hook = model.model.register_forward_hook(lambda _, __, out: states.append(out.last_hidden_state) or None)
    loss = example.policy_loss(*policy_arguments(example, model, rollouts))
    hook.remove()
    (gradient,) = torch.autograd.grad(loss, states)
    per_rollout = (gradient[:, -C:] * rollouts.mask[..., None]).sum(1)
    _, norm = example.policy_phase(model, rollouts, torch.zeros(N, 16, dtype=torch.float64), micro=5)
    assert norm == pytest.approx(per_rollout.norm().item(), rel=1e-9)


def test_advantages_by_hand(example):
    nan = float("nan")
    reward = torch.tensor([1.0, 0.0, 1.0, nan, 1.0, 1.0, nan, nan], dtype=torch.float64)
    got = example.advantages(reward, torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]))
    spread = (2 / 9) ** 0.5 + 1e-4
    expected = [1 / 3 / spread, -2 / 3 / spread, 1 / 3 / spread, 0, 0, 0, 0, 0]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_strength_by_hand(example):
    strength = example.Strength()
    assert strength.weight(2.0, step=50) == 0.0  # nothing measured yet
    strength.observe(3.0)
    strength.observe(0.0)  # all rewards equal
    assert strength.weight(2.0, step=50) == pytest.approx(example.GRAD_RATIO * 3.0 / 2.0)
    assert strength.weight(2.0, step=4) == pytest.approx(example.GRAD_RATIO * 3.0 / 2.0 * 0.5)
    strength.observe(6.0)
    assert strength.weight(1.0, step=50) == pytest.approx(example.GRAD_RATIO * (0.9 * 3.0 + 6.0) / 1.9)
    assert strength.weight(0.0, step=50) == 0.0


def test_sampling_stops_at_the_end_token_and_pads(example, model):
    torch.manual_seed(1)
    ids = torch.randint(3, VOCAB, (6, 4))
    attention = torch.ones_like(ids)
    attention[0, :2] = 0
    with torch.no_grad():
        model.lm_head.weight[2] += 0.5  # makes the end token likely enough to see it
    tokens, mask = example.sample(model, ids, attention, max_new_tokens=12, end=2, pad=0)
    assert tokens.shape == mask.shape and mask[:, 0].all()
    for row, alive in zip(tokens.tolist(), mask.tolist(), strict=True):
        length = sum(alive)
        assert alive == [True] * length + [False] * (len(row) - length)
        assert 2 not in row[: length - 1] and set(row[length:]) <= {0}
        assert row[length - 1] == 2 or length == tokens.shape[1]


def test_sampling_follows_the_model(example, model):
    """With the cache and left padding, a nearly deterministic model gives its own most likely continuation."""
    with torch.no_grad():
        model.lm_head.weight *= 1e4
    ids = torch.randint(3, VOCAB, (3, 4), generator=torch.Generator().manual_seed(2))
    tokens, _ = example.sample(model, ids, torch.ones_like(ids), max_new_tokens=5, end=-1, pad=0)
    sequence = torch.cat([ids, tokens], dim=1)
    with torch.no_grad():
        expected = model(input_ids=sequence).logits[:, 3:-1].argmax(-1)
    assert torch.equal(tokens, expected)
