"""What is logged of each domain, and what observers are handed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mcpo_rl.trainers.trl.rollouts.domain_metrics import domain_metrics
from mcpo_rl.trainers.trl.rollouts.rollout_log import completion_text, is_due
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts

from .conftest import history, make_dataset


def test_domain_metrics_by_hand():
    rollouts = ScoredRollouts(
        domains=torch.tensor([0, 0, 0, 2, 2]),
        prompts=torch.tensor([1, 1, 1, 2, 2]),
        rewards=torch.tensor([1.0, 0.5, math.nan, math.nan, math.nan]),
        lengths=torch.tensor([2, 4, 6, 8, 9]),
        truncated=torch.tensor([False, False, True, True, True]),
        informative=torch.tensor([True, True, True, False, False]),
    )
    found = domain_metrics(rollouts, ["a", "b", "c"], correct_threshold=1.0)
    assert found == pytest.approx(
        {
            "domain/a/share": 0.6,
            "domain/a/reward": 0.75,
            "domain/a/accuracy": 0.5,
            "domain/a/completion_length": 4.0,
            "domain/a/truncated": 1 / 3,
            "domain/a/error": 1 / 3,
            "domain/b/share": 0.0,
            "domain/c/share": 0.4,
            "domain/c/completion_length": 8.5,
            "domain/c/truncated": 1.0,
            "domain/c/error": 1.0,
        }
    )


def test_the_log_has_every_metric(make_trainer):
    trainer = make_trainer(per_device_train_batch_size=12, gradient_accumulation_steps=1, max_steps=3)
    trainer.train()
    names = {key for row in trainer.state.log_history for key in row}
    expected = {"share_loss", "consolidate_loss", "loss", "anchors", "positives", "negatives", "transferability"}
    expected |= {"alignment", "uniformity", "weight", "grad_norm", "policy_grad_norm", "grad_ratio"}
    expected |= {f"similarity/{pairs}" for pairs in ("cross_positive", "in_domain_positive", "negative")}
    expected |= {"borrow/math/code", "borrow/code/logic"}
    assert {f"contrastive/{name}" for name in expected} <= names
    for domain in ("math", "code", "logic"):
        parts = ("reward", "accuracy", "completion_length", "truncated", "share", "error")
        assert {f"domain/{domain}/{part}" for part in parts} <= names
    shares = [sum(row[f"domain/{d}/share"] for d in ("math", "code", "logic")) for row in trainer.state.log_history[:3]]
    assert shares == pytest.approx([1.0, 1.0, 1.0])


def test_the_logged_loss_is_policy_plus_weighted_contrastive(make_trainer):
    # With one token per completion the advantages of a group add up to 0 in the policy's loss: what is left is w * L.
    trainer = make_trainer(
        max_steps=1, max_completion_length=1, contrastive_coef=0.5, contrastive_warmup_steps=0, scale_rewards="none"
    )
    trainer.train()
    expected = 0.5 * history(trainer, "contrastive/loss")[0]
    assert expected > 0
    assert history(trainer, "loss")[0] == pytest.approx(expected, rel=1e-4)


def test_unscored_rollouts_are_neither_positive_nor_negative(make_trainer):
    def patchy(completion_ids, log_extra=None, **kwargs):
        log_extra("verdict", ["error" if row % 3 == 0 else "correct" for row in range(len(completion_ids))])
        return [None if row % 3 == 0 else float(ids[0] % 2) for row, ids in enumerate(completion_ids)]

    trainer = make_trainer(rewards=patchy, max_steps=1, log_rollouts_steps=1)
    seen = []
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    (batch,) = seen
    assert batch.usable == [row % 3 != 0 for row in range(12)]
    assert [reward is None for reward in batch.rewards] == [row % 3 == 0 for row in range(12)]
    assert batch.verdicts == ["error" if row % 3 == 0 else "correct" for row in range(12)]
    assert history(trainer, "domain/math/error")[0] > 0
    assert not any(batch.positives[row] for row in range(12) if not batch.usable[row] or not batch.correct[row])


def test_observers_get_what_was_rolled_out(make_trainer):
    trainer = make_trainer(max_steps=5, log_rollouts_steps=2, head_dim=16)
    seen = []
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    assert [batch.step for batch in seen] == [0, 2, 4]
    batch = seen[0]
    rows = {row["prompt"][0]["content"]: row["domain"] for row in make_dataset()}
    assert batch.domains == [rows[prompt[0]["content"]] for prompt in batch.prompts]
    assert len(set(batch.prompt_ids)) == 3 and all(isinstance(text, str) for text in batch.completions)
    assert batch.features.shape == (12, 32) and batch.embeddings.shape == (12, 16)
    for anchor, chosen in enumerate(batch.positives):
        for row in chosen:
            assert batch.correct[row] and batch.domains[row] != batch.domains[anchor]
    assert batch.term["negatives"] == "all" and batch.term["transferability"] == "centered"
    assert len(batch.tokens) == len(batch.truncated) == 12 and max(batch.tokens) > 0


def test_observers_get_the_scores_of_the_positives(make_trainer):
    def parity(completion_ids, log_extra=None, **kwargs):
        log_extra("answer", [str(ids[0]) for ids in completion_ids])
        return [float(row % 2) for row in range(len(completion_ids))]

    trainer = make_trainer(rewards=parity, max_steps=1, log_rollouts_steps=1, min_transferability=-1.0)
    seen = []
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    (batch,) = seen
    domains = np.array(batch.domains)
    centred = batch.features.copy()
    for domain in set(batch.domains):
        centred[domains == domain] -= centred[domains == domain].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    assert any(batch.positives)
    for anchor, (chosen, scores) in enumerate(zip(batch.positives, batch.positive_scores, strict=True)):
        assert scores == pytest.approx([float(centred[anchor] @ centred[row]) for row in chosen], abs=1e-4)
        assert scores == sorted(scores, reverse=True)
    assert all(batch.answers)


@pytest.mark.parametrize(
    ("every", "steps_per_batch", "due"), [(0, 1, []), (3, 1, [0, 3, 6]), (4, 2, [0, 4]), (3, 2, [0, 4, 6])]
)
def test_when_observers_are_called(every, steps_per_batch, due):
    generated_at = range(0, 8, steps_per_batch)
    assert [step for step in generated_at if is_due(step, every, steps_per_batch)] == due


def test_text_of_completions():
    assert completion_text("plain") == "plain"
    assert completion_text([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": None}]) == "a\n"


def test_evaluation_reports_domains(make_trainer):
    trainer = make_trainer(
        options={"eval_dataset": make_dataset(6)}, per_device_eval_batch_size=8, num_generations_eval=2, max_steps=1
    )
    trainer.train()
    metrics = trainer.evaluate()
    row = next(row for row in reversed(trainer.state.log_history) if "eval_domain/math/reward" in row)
    assert "eval_contrastive/loss" not in row and metrics
