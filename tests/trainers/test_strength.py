"""The weight of the term: warm-up, fixed and relative strength, and what the log says of both gradients."""

from __future__ import annotations

import math

import pytest
import torch

from mcpo_rl.trainers.trl.phases.strength import DECAY, GradientMeter, Strength

from .conftest import history


def test_fixed_weight_warms_up_linearly():
    strength = Strength(coef=0.4, ratio=0.2, warmup_steps=4)
    assert [strength.weight(3.0, step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert Strength(coef=0.4, ratio=0.2, warmup_steps=0).weight(3.0, 0) == 0.4


@pytest.mark.parametrize(
    ("warmup", "decay", "expected"),
    [
        (2, 4, [0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (0, 2, [1.0, 0.5, 0.0, 0.0]),
        (3, 1, [1 / 3, 2 / 3, 1.0, 0.0, 0.0]),
    ],
)
def test_the_strength_falls_to_nothing(warmup, decay, expected):
    fixed = Strength(coef=0.4, ratio=0.2, warmup_steps=warmup, decay_steps=decay)
    relative = Strength(coef=None, ratio=0.2, warmup_steps=warmup, decay_steps=decay)
    relative.observe(6.0)
    for step, factor in enumerate(expected):
        assert fixed.weight(3.0, step) == pytest.approx(0.4 * factor)
        assert relative.weight(3.0, step) == pytest.approx(0.4 * factor)
    assert fixed.weight(3.0, len(expected)) == relative.weight(3.0, len(expected)) == 0.0


def test_a_run_ends_as_plain_grpo(make_trainer):
    trainer = make_trainer(contrastive_coef=1.0, contrastive_warmup_steps=0, contrastive_decay_steps=2, max_steps=3)
    trainer.train()
    assert history(trainer, "contrastive/weight") == [1.0, 0.5, 0.0]
    assert history(trainer, "contrastive/grad_norm")[-1] == 0.0
    assert history(trainer, "contrastive/loss")[-1] > 0


def test_relative_weight_scales_to_the_running_mean():
    strength = Strength(coef=None, ratio=0.2, warmup_steps=0)
    assert strength.weight(3.0, 0) == 0.0  # nothing measured yet
    for norm in (2.0, 4.0, 0.0, math.nan, math.inf):  # the last three are left out
        strength.observe(norm)
    mean = (2.0 * DECAY + 4.0) / (DECAY + 1)  # bias-corrected
    assert strength.policy_norm == pytest.approx(mean)
    assert strength.weight(3.0, 0) == pytest.approx(0.2 * mean / 3.0)
    assert strength.weight(0.0, 0) == strength.weight(math.nan, 0) == 0.0


def test_state_comes_back():
    strength = Strength(coef=None, ratio=0.2, warmup_steps=5)
    strength.observe(2.0)
    other = Strength(coef=None, ratio=0.2, warmup_steps=5)
    other.load_state_dict(strength.state_dict())
    assert other.weight(1.0, 2) == strength.weight(1.0, 2) > 0


def test_the_meter_by_hand():
    meter = GradientMeter(torch.device("cpu"))
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    gradient = torch.zeros(2, 5, 2)  # two prompt tokens, three of the completion
    gradient[0, 2], gradient[0, 3] = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0])  # sum (3, 4)
    gradient[0, 4] = gradient[:, 0] = 100.0  # masked out, or of the prompt
    gradient[1, 2] = torch.tensor([0.0, 12.0])
    meter.policy_hook(mask, 0.5)(gradient)
    meter.add_contrastive(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert meter.read(lambda squares: squares) == pytest.approx((0.5 * 13.0, 5.0))
    assert meter.read(lambda squares: squares) == (0.0, 0.0)


@pytest.mark.parametrize("steps_per_batch", [1, 2])
def test_the_norm_that_arrives_is_the_share_asked_for(make_trainer, steps_per_batch):
    trainer = make_trainer(
        learning_rate=0.0,
        max_steps=6,
        contrastive_warmup_steps=0,
        contrastive_grad_ratio=0.5,
        steps_per_generation=2 * steps_per_batch,
    )
    trainer.train()
    contrastive, policy = history(trainer, "contrastive/grad_norm"), history(trainer, "contrastive/policy_grad_norm")
    strength, checked = Strength(coef=None, ratio=0.5, warmup_steps=0), 0
    for first in range(0, 6, steps_per_batch):
        steps = slice(first, first + steps_per_batch)
        # The rollouts of a generation batch are dealt out at random over its steps: the mean square over them is fixed.
        pull = math.sqrt(sum(norm**2 for norm in contrastive[steps]) / steps_per_batch)
        if pull > 0:
            assert pull == pytest.approx(0.5 * strength.policy_norm, rel=1e-4)
            checked += 1
        assert first > 0 or pull == 0.0  # nothing was measured before the first step
        for norm in policy[steps]:
            strength.observe(norm)
    assert checked >= 2
    ratios = [c / p for c, p in zip(contrastive, policy, strict=True) if p > 0]
    assert history(trainer, "contrastive/grad_ratio") == pytest.approx(ratios)


def test_the_policy_norm_is_that_of_the_policy_alone(make_trainer):
    # The measured norm must not see the contrastive part, however strong it is.
    norms = []
    for coef in (1e-6, 100.0):
        trainer = make_trainer(max_steps=1, contrastive_coef=coef, contrastive_warmup_steps=0)
        trainer.train()
        norms.append(history(trainer, "contrastive/policy_grad_norm")[0])
        assert history(trainer, "contrastive/grad_norm")[0] > 0
    assert norms[0] > 0
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
