"""contrastive_coef=0 is TRL's GRPOTrainer, bit for bit, and its options keep working with the term."""

from __future__ import annotations

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

from .conftest import history, parameters_of


@pytest.mark.parametrize("options", [{}, {"num_iterations": 2, "steps_per_generation": 4}, {"log_rollouts_steps": 1}])
def test_without_the_term_it_is_grpo_bit_for_bit(make_trainer, make_args, options):
    theirs = {key: value for key, value in options.items() if key != "log_rollouts_steps"}
    plain = make_trainer(trainer_class=GRPOTrainer, args=make_args(GRPOConfig, max_steps=4, **theirs))
    plain.train()
    ours = make_trainer(args=make_args(MCPOConfig, max_steps=4, contrastive_coef=0.0, **options))
    seen = []
    ours.rollout_observers.append(seen.append)
    ours.train()
    expected, found = parameters_of(plain), parameters_of(ours)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert history(plain, "loss") == history(ours, "loss")
    assert history(ours, "domain/math/reward")  # the metrics per domain are there all the same
    assert not any(key.startswith("contrastive/") for row in ours.state.log_history for key in row)
    assert len(seen) == (4 if "log_rollouts_steps" in options else 0)
    if seen:
        assert seen[0].features.shape == (12, 32) and seen[0].embeddings is None


def test_the_term_changes_the_parameters(make_trainer):
    runs = []
    for coef in (0.0, 0.5):
        trainer = make_trainer(contrastive_coef=coef, contrastive_warmup_steps=0)
        trainer.train()
        runs.append(parameters_of(trainer))
    assert any(not torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({"num_iterations": 2}, "old_logps"),
        ({"steps_per_generation": 4}, "old_logps"),
        ({"steps_per_generation": 1, "per_device_train_batch_size": 12}, "training"),
        ({"feature_source": "forward", "num_iterations": 2}, "forward"),
        ({"feature_source": "training", "gradient_accumulation_steps": 1, "steps_per_generation": 2}, "training"),
        ({"mask_truncated_completions": True}, "generation"),
        ({"scale_rewards": "batch", "importance_sampling_level": "sequence"}, "generation"),
        ({"top_entropy_quantile": 0.5, "entropy_coef": 0.01}, "generation"),
        ({"bf16": True}, "generation"),
    ],
)
def test_options_of_trl_keep_working(make_trainer, options, source):
    trainer = make_trainer(**{"max_steps": 4, "contrastive_warmup_steps": 0, **options})
    assert isinstance(trainer, MCPOTrainer)
    trainer.train()
    assert trainer.feature_source_in_use == source
    assert trainer.state.global_step == 4
    assert max(history(trainer, "contrastive/grad_norm")) > 0


def test_several_rewards_with_weights(make_trainer):
    def long(completion_ids, **kwargs):
        return [float(len(ids) > 4) for ids in completion_ids]

    def parity(completion_ids, **kwargs):
        return [float(ids[0] % 2) for ids in completion_ids]

    trainer = make_trainer(rewards=[parity, long], reward_weights=[1.0, 0.5], log_rollouts_steps=1, max_steps=1)
    seen = []
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    rewards = seen[0].rewards
    assert sum(rewards) / len(rewards) == pytest.approx(history(trainer, "reward")[0])  # as TRL logs it
    assert seen[0].correct == [reward >= 1.0 for reward in rewards]
    assert set(rewards) <= {0.0, 0.5, 1.0, 1.5} and len(set(rewards)) > 2
