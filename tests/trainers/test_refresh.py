"""Gradients computed anew before each optimizer step that a generation batch feeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .conftest import make_dataset, make_model

SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "steps_per_generation": 8,
    "contrastive_coef": 0.5,
    "contrastive_warmup_steps": 0,
    "feature_source": "forward",
    "head_learning_rate": 1e-30,  # the head stays what it is: only the policy can change the gradients
    "max_grad_norm": 0.0,
    "max_steps": 2,
}


def watched(trainer: Any) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Train and return the features of each pool phase and the micro-batches with the gradients they were given."""
    pools: list[torch.Tensor] = []
    micro_batches: list[dict[str, torch.Tensor]] = []
    run, compute_loss = trainer._pool_phase.run, trainer._compute_loss

    def run_and_keep(features: torch.Tensor, *args: Any) -> Any:
        pools.append(features.clone())
        return run(features, *args)

    def compute_and_keep(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = compute_loss(model, inputs)
        micro_batches.append(dict(inputs))  # after it: the pool of a refresh waits for the first one's pass
        return loss

    trainer._pool_phase.run, trainer._compute_loss = run_and_keep, compute_and_keep
    trainer.train()
    return pools, micro_batches


def gradients(micro_batches: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    return torch.cat([batch["contrastive_grads"] for batch in micro_batches])


@pytest.mark.parametrize("iterations", [1, 2])
def test_weights_that_stay_give_the_same_gradients_to_the_same_rollouts(make_trainer, iterations):
    both = []
    for refresh in (False, True):
        options = {**SETTINGS, "learning_rate": 0.0, "num_iterations": iterations, "max_steps": 2 * iterations}
        trainer = make_trainer(make_model(torch.float64), **options, refresh_contrastive_grads=refresh)
        both.append(watched(trainer))
    (plain_pools, plain), (pools, refreshed) = both
    assert (len(plain_pools), len(pools)) == (1, 2 * iterations)
    assert len(plain) == len(refreshed) == 8 * iterations
    for before, after in zip(plain, refreshed, strict=True):
        assert torch.equal(before["completion_ids"], after["completion_ids"])
    for pool in pools[1:]:
        torch.testing.assert_close(pool, pools[0], rtol=1e-9, atol=1e-12)
    assert gradients(plain).abs().max() > 0
    torch.testing.assert_close(gradients(refreshed), gradients(plain), rtol=1e-6, atol=1e-12)


def test_weights_that_move_give_new_gradients_at_the_second_step_only(make_trainer):
    found = []
    for refresh in (False, True):
        trainer = make_trainer(
            make_model(torch.float64), **SETTINGS, learning_rate=1e-2, refresh_contrastive_grads=refresh
        )
        found.append(watched(trainer))
    (_, plain), (pools, refreshed) = found
    assert torch.equal(gradients(plain[:4]), gradients(refreshed[:4]))
    assert not torch.allclose(pools[0], pools[1], rtol=1e-3)
    assert not torch.allclose(gradients(plain[4:]), gradients(refreshed[4:]), rtol=1e-3)


def test_one_step_per_generation_has_nothing_to_refresh(make_trainer):
    options = {**SETTINGS, "steps_per_generation": 4, "refresh_contrastive_grads": True}
    pools, _ = watched(make_trainer(make_model(torch.float64), **options))
    assert len(pools) == 2


def test_the_shorter_last_step_of_an_epoch_does_not_shift_the_others(make_trainer):
    # Three micro-batches a generation batch and an epoch, two a step: steps of 2, 1, 2, 1 micro-batches.
    options = {**SETTINGS, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 4}
    trainer = make_trainer(
        make_model(torch.float64),
        dataset=make_dataset(3),
        **{**options, "steps_per_generation": 3},
        refresh_contrastive_grads=True,
    )
    steps: list[int] = []
    run = trainer._pool_phase.run
    trainer._pool_phase.run = lambda *args: steps.append(trainer.state.global_step) or run(*args)
    trainer.train()
    assert steps == [0, 1, 2, 3]
