"""Groups whose rewards are all equal get advantages from the pool; the others keep those of their rewards."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective.advantages import contrastive_advantages
from mcpo_rl.trainers.trl import MCPORLOOConfig, MCPORLOOTrainer

from .conftest import history, make_dataset, make_model, parameters_of
from .rollouts import fixed_rollouts

BATCH = {"per_device_train_batch_size": 24, "gradient_accumulation_steps": 1, "max_steps": 1}


def hopeless_math(completion_ids: list[list[int]], domain: list[str], **kwargs: Any) -> list[float]:
    """Mathematics is always wrong; else right where the first token's number is odd."""
    return [float(name != "math" and ids[0] % 2) for name, ids in zip(domain, completion_ids, strict=True)]


def easy_math(completion_ids: list[list[int]], domain: list[str], **kwargs: Any) -> list[float]:
    """Mathematics is always right."""
    return [float(name == "math" or ids[0] % 2) for name, ids in zip(domain, completion_ids, strict=True)]


class Kept:
    """A trainer, and what its first generation batch was given."""

    def __init__(self, make_trainer: Any, **options: Any) -> None:
        self.trainer = make_trainer(dataset=make_dataset(60), **{"rewards": hopeless_math, **BATCH, **options})
        trainer, run = self.trainer, self.trainer._pool_phase.run
        generate = trainer._generate_and_score_completions

        def keep_pool(*arguments: Any) -> Any:
            outcome = run(*arguments)
            self.pool = outcome.pool
            return outcome

        def keep_batch(inputs: Any) -> Any:
            batch = generate(inputs)
            self.advantages = batch["advantages"].clone()
            return batch

        trainer._pool_phase.run, trainer._generate_and_score_completions = keep_pool, keep_batch
        trainer.train()
        self.scored = trainer._scored
        rewards = self.scored.rewards.view(-1, 4)
        self.by_reward = (
            (rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std(dim=1) + 1e-4)[:, None]
        ).flatten()


@pytest.mark.parametrize(("source", "found_in"), [("auto", "generation"), ("forward", "forward")])
def test_groups_without_signal_get_them(make_trainer, source, found_in):
    kept = Kept(make_trainer, contrastive_advantage=0.5, feature_source=source)
    assert kept.trainer.feature_source_in_use == found_in
    informative = kept.scored.informative
    assert 0 < informative.sum() < 24
    torch.testing.assert_close(kept.advantages[informative], kept.by_reward[informative])
    expected = contrastive_advantages(kept.pool, ~informative, 4)
    torch.testing.assert_close(kept.advantages[~informative], 0.5 * expected.values[~informative])
    groups = kept.advantages[~informative].view(-1, 4)
    assert groups.abs().amin(dim=0).sum() > 0
    torch.testing.assert_close(groups.std(dim=1), torch.full((len(groups),), 0.5), rtol=0.02, atol=0.0)
    assert history(kept.trainer, "contrastive/advantage_groups") == [len(groups)]
    assert 0 <= history(kept.trainer, "contrastive/advantage_agreement")[0] <= 1
    assert [*kept.trainer._logs["advantages"]] == pytest.approx(kept.advantages.tolist())


def test_a_float64_policy_has_a_pass_of_its_own(make_trainer):
    kept = Kept(make_trainer, model=make_model(torch.float64), contrastive_advantage=0.5)
    assert kept.trainer.feature_source_in_use == "forward"


@pytest.mark.parametrize(
    ("groups", "rewards", "gets"),
    [
        ("incorrect", hopeless_math, True),
        ("correct", hopeless_math, False),
        ("incorrect", easy_math, False),
        ("correct", easy_math, True),
        ("both", easy_math, True),
    ],
)
def test_which_groups(make_trainer, groups, rewards, gets):
    kept = Kept(make_trainer, rewards=rewards, contrastive_advantage=0.5, contrastive_advantage_groups=groups)
    math = kept.scored.domains == kept.trainer.domains.numbers(["math"])[0]
    assert math.any()
    assert bool((kept.advantages[math] != 0).any()) == gets


def test_alone_without_the_losses(make_trainer):
    kept = Kept(make_trainer, contrastive_advantage=0.5, share_weight=0.0, consolidate_weight=0.0, max_steps=2)
    assert history(kept.trainer, "contrastive/grad_norm") == [0.0, 0.0]
    assert all(history(kept.trainer, "contrastive/advantage_groups"))
    assert min(history(kept.trainer, "contrastive/policy_grad_norm")) > 0


def test_plain_grpo_has_none(make_trainer):
    found = []
    for scale in (0.0, 0.5):
        trainer = make_trainer(
            rewards=hopeless_math,
            dataset=make_dataset(60),
            options={"rollout_func": fixed_rollouts},
            contrastive_coef=0.0,
            contrastive_advantage=scale,
            **BATCH,
        )
        trainer.train()
        found.append(parameters_of(trainer))
        assert not history(trainer, "contrastive/advantage_groups")
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_rloo_takes_them_too(make_trainer, make_args):
    args = make_args(MCPORLOOConfig, contrastive_advantage=0.5, beta=0.0, **BATCH)
    trainer = make_trainer(trainer_class=MCPORLOOTrainer, args=args, rewards=hopeless_math, dataset=make_dataset(60))
    trainer.train()
    assert trainer.feature_source_in_use == "old_logps"
    assert history(trainer, "contrastive/advantage_groups")[0] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrastive_advantage": -1}, "contrastive_advantage is -1; expected a finite number >= 0"),
        ({"contrastive_advantage": math.inf}, "contrastive_advantage is inf"),
        ({"contrastive_advantage_groups": "wrong"}, "contrastive_advantage_groups is 'wrong'; .*`incorrect`"),
        (
            {"contrastive_advantage": 1.0, "feature_source": "training"},
            "feature_source='training' cannot be combined with contrastive_advantage",
        ),
    ],
)
def test_refusals(make_args, options, message):
    with pytest.raises(ConfigError, match=message):
        make_args(**options)
