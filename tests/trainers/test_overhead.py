"""What a step of MCPO computes beyond one of GRPO, counted in passes; and the measurement of the overhead.

Seconds are no test's business, nor can waiting for a device be counted on a CPU.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import weakref
from typing import Any

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from mcpo_rl.cli.bench_overhead import _check_same_rollouts
from mcpo_rl.cli.bench_overhead_worker import Setting, own_memory_mib, serve
from mcpo_rl.cli.bench_phases import PHASES
from mcpo_rl.errors import RunError
from mcpo_rl.trainers.trl.features.hidden_states import unwrapped

from .conftest import make_model, make_tokenizer

ONE_MICRO_BATCH = {"per_device_train_batch_size": 12, "gradient_accumulation_steps": 1}
OFF_POLICY = {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "max_steps": 4}


class Passes:
    """Counts the calls of a model's backbone: with a graph, without one, and decoding steps."""

    def __init__(self, model: Any) -> None:
        self.training = self.inference = self.decoding = 0
        model.model.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, module: Any, arguments: Any, inputs: dict[str, Any], output: Any) -> None:
        if torch.is_grad_enabled():
            self.training += 1
        elif inputs.get("past_key_values") is not None:
            self.decoding += 1
        else:
            self.inference += 1

    def __sub__(self, other: Passes) -> tuple[int, int]:
        assert self.training == other.training > 0
        return self.inference - other.inference, self.decoding - other.decoding


def passes(train: Any) -> Passes:
    model = make_model()
    counted = Passes(model)
    train(model)
    return counted


def added(make_trainer: Any, make_args: Any, source: str, **options: Any) -> tuple[int, int]:
    """Return the passes without gradient and the decoding steps that MCPO has more than GRPO, over a whole training."""
    options = {"learning_rate": 0.0, **options}  # the same rollouts
    plain = make_args(GRPOConfig, **options)
    ours = passes(lambda model: make_trainer(model, feature_source=source, **options).train())
    return ours - passes(lambda model: make_trainer(model, trainer_class=GRPOTrainer, args=plain).train())


def test_old_log_probs_need_no_pass_of_their_own(make_trainer, make_args):
    assert added(make_trainer, make_args, "old_logps", **OFF_POLICY) == (0, 0)


def test_decoding_needs_at_most_one_more_step_a_generation_batch(make_trainer, make_args):
    more_passes, more_steps = added(make_trainer, make_args, "generation", max_steps=3)
    assert more_passes == 1  # the comparison with a forward pass, once
    assert 0 < more_steps <= 3


def test_a_forward_pass_sees_each_generation_batch_once(make_trainer, make_args):
    # 12 rollouts of a generation batch in chunks of twice 6.
    assert added(make_trainer, make_args, "forward", max_steps=3) == (3, 0)


def test_the_training_pass_saves_that_of_one_micro_batch(make_trainer, make_args):
    # Of three micro-batches of 4, the first needs none, and the other two are one chunk of twice 4.
    options = {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    assert added(make_trainer, make_args, "training", **options) == (3, 0)
    assert added(make_trainer, make_args, "forward", **options) == (6, 0)


def test_one_micro_batch_needs_no_pass_of_its_own(make_trainer, make_args):
    assert added(make_trainer, make_args, "auto", **ONE_MICRO_BATCH, max_steps=3) == (0, 0)


@pytest.mark.parametrize(
    ("options", "source"), [(OFF_POLICY, "old_logps"), ({}, "generation"), (ONE_MICRO_BATCH, "training")]
)
def test_auto_takes_the_source_with_the_fewest_passes(make_trainer, make_args, options, source):
    trainer = make_trainer(**options)
    trainer.train()
    assert trainer.feature_source_in_use == source
    fewest = added(make_trainer, make_args, source, **{"max_steps": 2, **options})
    assert fewest < added(make_trainer, make_args, "forward", **{"max_steps": 2, **options})


@pytest.fixture
def setting(tmp_path):
    make_model().save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    return Setting(model=str(tmp_path), turns=2, prompts=3, generations=4, micro_batch=6, completion_length=4)


def serve_here(setting: Setting, method: str, orders: str) -> list[dict[str, Any]]:
    answers = io.StringIO()
    threads = torch.get_num_threads()
    with contextlib.suppress(SystemExit):
        serve(setting, method, io.StringIO(orders), answers)
    torch.set_num_threads(threads)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


@pytest.mark.parametrize("case", [{}, {"source": "old_logps", "ready": True}])
def test_both_trainers_take_the_same_turns(setting, case):
    setting = Setting(**{**setting.__dict__, **case})
    grpo, mcpo = (serve_here(setting, method, "phases\n" * 3) for method in ("grpo", "mcpo"))
    assert [len(answers) for answers in (grpo, mcpo)] == [1 + 3 + 1] * 2
    for ours, theirs in zip(mcpo[1:-1], grpo[1:-1], strict=True):
        _check_same_rollouts(theirs, ours)
        assert set(ours["phases"]) == set(PHASES)
        assert all(ours["phases"][phase] > 0 for phase in ("generate", "verify", "pool", "policy", "optimizer"))
        assert theirs["phases"]["pool"] == theirs["phases"]["features"] == 0
        assert (
            (ours["phases"]["old_logps"] > 0) == (theirs["phases"]["old_logps"] > 0) == (setting.source == "old_logps")
        )
        assert ours["source"] == setting.source
    assert mcpo[-1]["peak_mib"] >= mcpo[-1]["start_mib"]
    with pytest.raises(RunError, match="did not roll out the same tokens"):
        _check_same_rollouts(grpo[1], mcpo[2])


def test_a_worker_ends_with_the_one_who_asked(setting):
    assert len(serve_here(setting, "grpo", "go\n")) == 2  # ready, and one turn without phases


def test_the_peak_is_this_process_own():
    now, peak = own_memory_mib()
    assert 10 < now <= peak < 100_000


def test_a_model_is_unwrapped_once_and_not_kept():
    calls: list[torch.nn.Module] = []

    class Accelerator:
        def unwrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
            calls.append(model)
            return model[0]

    accelerator, model = Accelerator(), torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert unwrapped(accelerator, model) is unwrapped(accelerator, model) is model[0]
    assert len(calls) == 1
    held = weakref.ref(model)
    calls.clear()
    del model
    gc.collect()
    assert held() is None
