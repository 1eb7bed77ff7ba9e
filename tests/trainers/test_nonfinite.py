"""Features that are NaN or infinite: a rollout that is left out of everything, and when training ends over them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from mcpo_rl.errors import NonfiniteError
from mcpo_rl.trainers.trl.phases.nonfinite import WINDOW, NonfiniteWindow, check_policy_gradient
from mcpo_rl.trainers.trl.phases.pool import PoolPhase
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts

from .conftest import history, parameters_of

NAN, INF = float("nan"), float("inf")
NAMES = ["code", "logic", "math"]


def naive_pool(pool, z, config):
    spec = importlib.util.spec_from_file_location("naive", Path(__file__).parents[1] / "objective" / "naive.py")
    naive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(naive)
    return naive.Pool(pool, z, config)


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_one_bad_rollout_goes_on_and_a_second_one_soon_after_does_not():
    window = NonfiniteWindow()
    for nonfinite in (0, 1, 0):
        window.observe(24, nonfinite)
        assert not window.too_many
    window.observe(24, 1)
    assert window.too_many and (window.nonfinite, window.rollouts) == (2, 96)


def test_a_pool_that_is_bad_as_a_whole_ends_it_at_once():
    window = NonfiniteWindow()
    window.observe(4, 4)
    assert window.too_many


@pytest.mark.parametrize(("nonfinite", "too_many"), [(40, False), (41, True)])
def test_one_per_cent_of_a_large_pool(nonfinite, too_many):
    window = NonfiniteWindow()
    window.observe(4000, nonfinite)
    assert window.too_many is too_many


def test_what_is_long_past_is_forgotten():
    window = NonfiniteWindow()
    window.observe(300, 1)
    for _ in range(3):
        window.observe(300, 0)
    assert window.rollouts == 1200 >= WINDOW and window.nonfinite == 1  # without the first there would be 900
    window.observe(300, 1)
    assert window.rollouts == 1200 and window.nonfinite == 1 and not window.too_many
    window.observe(300, 12)  # 13 are above 1 % of 1200
    assert window.too_many


def test_the_window_comes_back_from_a_checkpoint():
    window = NonfiniteWindow()
    for nonfinite in (1, 0, 0):
        window.observe(400, nonfinite)
    resumed = NonfiniteWindow()
    resumed.load_state_dict(window.state_dict())
    for counter in (window, resumed):
        counter.observe(400, 5)
    assert (resumed.rollouts, resumed.nonfinite) == (window.rollouts, window.nonfinite) == (1200, 5)


# -- the pool phase ----------------------------------------------------------------------------------------------------


def rollouts_of(count):
    generator = torch.Generator().manual_seed(count)
    numbers = torch.arange(count)
    return ScoredRollouts(
        domains=numbers // 4 % 3,
        prompts=numbers // 4,
        rewards=torch.randint(2, (count,), generator=generator).float(),
        lengths=torch.full((count,), 5),
        truncated=torch.zeros(count, dtype=torch.bool),
        informative=torch.ones(count, dtype=torch.bool),
    )


def without(rollouts, row):
    kept = torch.arange(len(rollouts.domains)) != row
    return ScoredRollouts(**{name: value[kept] for name, value in vars(rollouts).items()})


@pytest.fixture
def make_phase(make_args):
    def build():
        args = make_args(contrastive_coef=0.5, contrastive_warmup_steps=0, head_dim=6)
        return PoolPhase(
            args, Accelerator(cpu=True), 8, torch.float64, correct_threshold=1.0, pools_per_step=1.0
        ), args.contrastive_config()

    return build


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("row", [2, 9])
def test_the_others_are_a_pool_without_it(make_phase, row, bad):
    rollouts = rollouts_of(24)
    features = torch.randn(24, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 3.0
    broken = features.clone()
    broken[row, 5] = bad
    kept = torch.arange(24) != row
    present = torch.ones(24, dtype=torch.bool)
    (phase, config), (other, _) = make_phase(), make_phase()
    head = phase.objective.head
    z = head(torch.where(torch.isfinite(broken), broken, 0.0)).detach()
    found = phase.run(broken, present, rollouts, NAMES, 0)
    expected = other.run(features[kept], present[kept], without(rollouts, row), NAMES, 0)
    # Against the loops over lists, which read features of usable rollouts only.
    oracle = naive_pool(found.pool, z, config)
    assert found.step.loss.item() == pytest.approx(oracle.loss(), rel=1e-9)
    assert found.step.metrics == pytest.approx(oracle.metrics(), rel=1e-9)
    assert oracle.metrics()["positives"] > 4
    # And against a pool that never had the rollout: loss, gradients, metrics, and the head after its update.
    assert not found.gradients[row].any()
    torch.testing.assert_close(found.gradients[kept], expected.gradients)
    torch.testing.assert_close(found.weighted_loss, expected.weighted_loss)
    assert found.metrics.pop("contrastive/nonfinite_features") == 1
    assert expected.metrics.pop("contrastive/nonfinite_features") == 0
    assert found.metrics == pytest.approx(expected.metrics)
    for name, value in other.objective.head.state_dict().items():
        torch.testing.assert_close(phase.objective.head.state_dict()[name], value)


def test_a_rollout_without_tokens_is_not_counted(make_phase):
    features = torch.randn(24, 8, dtype=torch.float64)
    features[3] = NAN
    present = torch.arange(24) != 3
    phase, _ = make_phase()
    outcome = phase.run(features, present, rollouts_of(24), NAMES, 0)
    assert outcome.metrics["contrastive/nonfinite_features"] == 0 and not outcome.pool.usable[3]
    assert torch.isfinite(outcome.gradients).all()


def test_the_error_says_how_many_from_where_and_what_to_do(make_phase):
    phase, _ = make_phase()
    # Three ranks of eight rollouts each; everything after the gathering is the same with one.
    phase._accelerator = SimpleNamespace(num_processes=3, process_index=0, gather=lambda tensor: tensor)
    features = torch.randn(24, 8, dtype=torch.float64)
    features[[1, 17, 18], 0] = NAN
    before = {name: value.clone() for name, value in phase.objective.head.state_dict().items()}
    with pytest.raises(NonfiniteError) as caught:
        phase.run(features, torch.ones(24, dtype=torch.bool), rollouts_of(24), NAMES, 7)
    message = str(caught.value)
    for part in (
        "Step 7:",
        "3 of 24 rollouts are NaN or infinite (1 from rank 0, 2 from rank 2), 3 of the last 24",
        "learning_rate",
        "bf16 instead of fp16",
        "prompt_id 0, 4",
    ):
        assert part in message
    assert all(torch.equal(before[name], value) for name, value in phase.objective.head.state_dict().items())


# -- training ----------------------------------------------------------------------------------------------------------


def breaking(trainer, bad_steps, rows=(2,)):
    """Let the pool phase see NaN in these rows at these steps; the training pass is as ever."""
    original = trainer._features.features

    def broken(batch):
        features = original(batch)
        if trainer.state.global_step in bad_steps:
            features[list(rows)] = NAN
        return features

    trainer._features.features = broken
    return trainer


def test_training_goes_on_without_that_rollout(make_trainer):
    seen = []
    trainer = breaking(make_trainer(feature_source="forward", log_rollouts_steps=1), bad_steps={1})
    trainer.rollout_observers.append(seen.append)
    trainer.train()
    assert history(trainer, "contrastive/nonfinite_features") == [0.0, 1.0, 0.0]
    assert [[row for row, usable in enumerate(step.usable) if not usable] for step in seen] == [[], [2], []]
    assert all(torch.isfinite(parameter).all() for parameter in parameters_of(trainer).values())
    finite = [value for row in trainer.state.log_history for value in row.values() if isinstance(value, float)]
    assert finite and all(map(torch.isfinite, map(torch.tensor, finite)))


def test_a_second_one_ends_training_also_after_resuming(make_trainer, tmp_path):
    options = {"feature_source": "forward", "save_strategy": "steps", "save_steps": 2, "max_steps": 5}
    with pytest.raises(NonfiniteError, match=r"Step 3: .* 1 of 12 rollouts are .* 2 of the last 48"):
        breaking(make_trainer(**options), bad_steps={1, 3}).train()
    resumed = breaking(make_trainer(**options), bad_steps={3})
    with pytest.raises(NonfiniteError, match=r"Step 3: .* 2 of the last 48"):  # the first was before the checkpoint
        resumed.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_policy_gradient_that_is_not_finite_ends_training_before_it_reaches_the_weights(make_trainer, tmp_path, bad):
    trainer = make_trainer(feature_source="forward", max_steps=6, save_strategy="steps", save_steps=1)
    original = trainer._generate_and_score_completions
    before = {}

    def spoilt(inputs):
        before.update(parameters_of(trainer))
        batch = original(inputs)
        if trainer.state.global_step == 2:
            batch["advantages"][0] = bad
        return batch

    trainer._generate_and_score_completions = spoilt
    norms = []
    observe = trainer._pool_phase.strength.observe
    trainer._pool_phase.strength.observe = lambda norm: (
        observe(norm),
        norms.append(trainer._pool_phase.strength.policy_norm),
    )
    with pytest.raises(NonfiniteError, match=r"gradient of the step after step 2 is NaN or infinite.*learning_rate"):
        trainer.train()
    assert len(norms) == 3 and norms[0] != norms[1] == norms[2]  # the running mean keeps out of it
    assert all(torch.equal(before[name], value) for name, value in parameters_of(trainer).items())
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}


def test_weights_that_are_nan_are_named(make_phase):
    phase, _ = make_phase()
    features = torch.full((24, 8), NAN, dtype=torch.float64)
    with pytest.raises(NonfiniteError, match=r"Not one rollout is finite.* a checkpoint from before step 9"):
        phase.run(features, torch.ones(24, dtype=torch.bool), rollouts_of(24), NAMES, 9)


def test_a_scaled_loss_is_left_to_its_scaler():
    check_policy_gradient(INF, global_step=1, scaled=True)
    check_policy_gradient(0.0, global_step=1, scaled=False)
