"""Groups without signal rolled out anew: the merged batch is the one TRL would have made of its problems."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from mcpo_rl.errors import ConfigError
from mcpo_rl.rewards import make_verifier_reward
from mcpo_rl.trainers.trl import MCPOTrainer
from mcpo_rl.trainers.trl.sampling.mixing import check_resampling

from .conftest import history, make_dataset, make_model, parameters_of, parity_reward
from .rollouts import fixed_rollouts, picky_reward

BATCH = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "contrastive_warmup_steps": 0}
RESAMPLE = {"mixture": {"resample": 3}, "max_steps": 1}


def batches_of(trainer):
    """Keep what TRL makes of each generation batch."""
    kept, original = [], trainer._generate_and_score_completions

    def keep(inputs):
        kept.append(original(inputs))
        # Of every metric one value for the batch, however often was rolled out for it.
        assert all(len(values) == 1 for values in trainer._metrics["train"].values())
        return kept[-1]

    trainer._generate_and_score_completions = keep
    return kept


def outcomes_of(trainer):
    """Keep what the mixture is told of each batch."""
    kept, original = [], trainer._get_train_sampler

    def with_ears(dataset=None):
        sampler = original(dataset)
        observe = trainer._mixing.mixture.observe
        trainer._mixing.mixture.observe = lambda n, outcome: kept.append(outcome) or observe(n, outcome)
        return sampler

    trainer._get_train_sampler = with_ears
    return kept


def reference_of(trainer, make_trainer, **options):
    """A trainer whose one batch is, from the start, the problems that `trainer` ended with."""
    rows = [rollout["row"] for rollout in trainer._resampled.rollouts][:: trainer.num_generations]
    return make_trainer(
        dataset=Dataset.from_list(rows), shuffle_dataset=False, max_steps=1, rewards=picky_reward, **options
    )


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": "dapo", "beta": 0.1, "mask_truncated_completions": True},
        {"num_iterations": 2, "scale_rewards": "batch", "per_device_train_batch_size": 16},
        {"contrastive_coef": 0.0, "multi_objective_aggregation": "normalize_then_sum", "pad_to_multiple_of": 8},
    ],
)
def test_the_merged_batch_is_trls(make_trainer, tmp_path, options):
    make_model().save_pretrained(tmp_path / "model")  # the reference model is loaded from where the policy came from
    options = {**BATCH, "model": str(tmp_path / "model"), "options": {"rollout_func": fixed_rollouts}, **options}
    trainer = make_trainer(dataset=make_dataset(60), rewards=picky_reward, **RESAMPLE, **options)
    merged = batches_of(trainer)
    trainer.train()
    assert history(trainer, "mixture/replaced_groups")[0] >= 2
    reference = reference_of(trainer, make_trainer, **options)
    plain = batches_of(reference)
    reference.train()
    assert merged[0].keys() == plain[0].keys()
    for name, values in plain[0].items():
        assert torch.equal(torch.as_tensor(merged[0][name]), torch.as_tensor(values)), name
    for name in ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "domain/math/completion_length"):
        assert history(trainer, name) == history(reference, name), name
    expected, found = parameters_of(reference), parameters_of(trainer)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert list(trainer._logs["completion"]) == list(reference._logs["completion"])
    assert list(trainer._logs["advantages"]) == list(reference._logs["advantages"])


def test_with_a_signal_in_every_group_nothing_changes(make_trainer):
    def by_place(completion_ids, **kwargs):
        return [float(row % 2) for row in range(len(completion_ids))]

    runs = []
    for mixture in ("equal", {"resample": 3}):
        trainer = make_trainer(rewards=by_place, mixture=mixture, contrastive_warmup_steps=0, max_steps=3)
        trainer.train()
        runs.append((parameters_of(trainer), history(trainer, "loss"), history(trainer, "contrastive/loss")))
    assert runs[0][1:] == runs[1][1:] and trainer.feature_source_in_use == "generation"
    assert all(torch.equal(runs[0][0][name], runs[1][0][name]) for name in runs[0][0])
    assert history(trainer, "mixture/resampled_groups") == [0.0] * 3


def test_the_domains_keep_their_shares_and_other_problems_come(make_trainer):
    trainer = make_trainer(dataset=make_dataset(60), rewards=picky_reward, mixture={"resample": 2}, **BATCH)
    first, original = [], trainer.roll_out

    def watch(prompts, rows):
        first.append([row["prompt"][0]["content"] for row in rows[::4]])
        return original(prompts, rows)

    trainer.roll_out = watch
    outcomes = outcomes_of(trainer)
    trainer.train()
    for name in ("math", "code", "logic"):
        assert history(trainer, f"mixture/{name}/share") == history(trainer, f"domain/{name}/share")
        assert all(0.25 <= share <= 0.375 for share in history(trainer, f"mixture/{name}/share"))
    drawn = [prompt for prompts in first for prompt in prompts]
    assert len(drawn) > 3 * 8 and len(set(drawn)) == len(drawn)  # no problem twice before all of its domain were drawn
    cost = history(trainer, "mixture/resampled_groups")
    assert sum(cost) == len(drawn) - 3 * 8
    # A curriculum learns from everything that was scored, not from the selection that is trained on.
    assert sum(domain.groups for outcome in outcomes for domain in outcome.domains.values()) == len(drawn)
    assert all(1 <= rounds <= 2 for rounds in history(trainer, "mixture/resample_rounds"))
    assert sum(history(trainer, "mixture/replaced_groups")) <= sum(cost)


def test_what_cannot_be_replaced_stays_and_the_rounds_end(make_trainer):
    reward = make_verifier_reward(workers=1)  # random letters: all wrong
    dataset = make_dataset(60, domains=("math",)).map(lambda row: {"reference": '"7"'})
    trainer = make_trainer(dataset=dataset, rewards=reward, **{**RESAMPLE, **BATCH, "contrastive_coef": 0.0})
    trainer.train()
    assert history(trainer, "mixture/resample_rounds") == [3.0]
    assert history(trainer, "mixture/resampled_groups") == [24.0]
    assert history(trainer, "mixture/replaced_groups") == [0.0]
    assert history(trainer, "verify/math/incorrect") == [32.0]  # of the batch as first drawn
    assert history(trainer, "loss") == [0.0]


def test_features_and_logged_columns_follow_their_rollouts(make_trainer):
    def spoken(prompts, completions, completion_ids, log_extra, **kwargs):
        log_extra("verdict", [completion[0]["content"] for completion in completions])
        return picky_reward(prompts, completion_ids)

    trainer = make_trainer(
        dataset=make_dataset(60), rewards=spoken, feature_source="generation", log_rollouts_steps=1, **RESAMPLE, **BATCH
    )
    batches, seen, original = [], [], trainer._features.features

    def compared(batch):
        found = original(batch)
        torch.testing.assert_close(found, trainer._features.forward(batch), rtol=1e-4, atol=1e-5)
        batches.append(batch)
        return found

    trainer._features.features = compared
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    assert len(batches) == 1 and history(trainer, "mixture/replaced_groups")[0] > 0
    assert trainer.feature_source_in_use == "generation"
    assert seen[0].verdicts == seen[0].completions
    assert history(trainer, "completions/mean_length") and history(trainer, "num_tokens")[0] > 32


def test_fields_of_a_rollout_function_follow_their_rollouts(make_trainer):
    def told(prompts, trainer):
        found = fixed_rollouts(prompts, trainer)
        return {**found, "told": [str(ids) for ids in found["completion_ids"]]}

    seen = []

    def check(prompts, completion_ids, told, **kwargs):
        assert told == [str(ids) for ids in completion_ids]
        seen.append(len(told))
        return picky_reward(prompts, completion_ids)

    trainer = make_trainer(dataset=make_dataset(60), rewards=check, options={"rollout_func": told}, **RESAMPLE, **BATCH)
    trainer.train()
    assert history(trainer, "mixture/replaced_groups")[0] > 0 and len(seen) > 1
    rollouts = trainer._resampled.rollouts
    assert all(rollout["row"]["told"] == str(rollout["completion_ids"]) for rollout in rollouts)


def test_evaluation_is_not_resampled(make_trainer):
    trainer = make_trainer(
        rewards=lambda prompts, **kwargs: [0.0] * len(prompts),
        options={"eval_dataset": make_dataset(4)},
        per_device_eval_batch_size=4,
        num_generations_eval=2,
        **RESAMPLE,
    )
    trainer.train()
    calls, original = [], trainer.roll_out
    trainer.roll_out = lambda *args: calls.append(1) or original(*args)
    trainer.evaluate()
    assert len(calls) == 2


def test_a_trl_that_keeps_lists_of_its_own_is_loud(make_trainer):
    trainer = make_trainer(dataset=make_dataset(60), rewards=picky_reward, **RESAMPLE, **BATCH)
    original = trainer._generate
    trainer._generate = lambda prompts: original(list(prompts))
    with pytest.raises(RuntimeError, match="TRL goes on with the prompts of before"):
        trainer.train()
    assert len(MCPOTrainer.generated_names) == 8


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("tools", [print], "tools"), ("environment_factories", {"": dict}, "environments"), ("_is_vlm", True, "vision")],
)
def test_what_cannot_be_resampled(make_trainer, monkeypatch, name, value, what):
    trainer = make_trainer(rewards=parity_reward, **RESAMPLE)
    check_resampling(trainer)
    monkeypatch.setattr(trainer, name, value)
    with pytest.raises(ConfigError, match=f"cannot be combined with {what}"):
        check_resampling(trainer)
