"""The forgetting alarm while training: held-out accuracy below its best, the warning, the mixture, the checkpoint."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from .conftest import history, make_dataset

HELDOUT = make_dataset(20, domains=("math", "code"))


def falling(code_falls_at: int, holder: dict[str, Any]) -> Any:
    """Held out, everything is right; from a step on, code is all wrong. In training, the first token decides."""

    def reward(completion_ids: list[list[int]], domain: list[str], **columns: Any) -> list[float]:
        trainer = holder["trainer"]
        if trainer.model.training:
            return [float(ids[0] % 2) for ids in completion_ids]
        fallen = trainer.state.global_step >= code_falls_at
        return [float(not (fallen and name == "code")) for name in domain]

    return reward


def make(make_trainer: Any, *, falls_at: int = 2, **options: Any) -> Any:
    holder: dict[str, Any] = {}
    settings: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "eval_on_start": True,
        "num_generations_eval": 2,
        "per_device_eval_batch_size": 40,
        "max_completion_length": 2,
        "max_steps": 3,
        "contrastive_coef": 0.0,
        **options,
    }
    holder["trainer"] = make_trainer(
        rewards=falling(falls_at, holder),
        dataset=make_dataset(16, domains=("math", "code")),
        options={"eval_dataset": HELDOUT},
        **settings,
    )
    return holder["trainer"]


def test_a_fall_is_logged_and_warned_of(make_trainer, caplog):
    trainer = make(make_trainer)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert history(trainer, "forgetting/code") == [0, 0, 1, 1]
    assert history(trainer, "forgetting/math") == [0, 0, 0, 0]
    assert history(trainer, "forgetting_alarm/code") == [0, 0, 1, 1]
    warnings = [record.getMessage() for record in caplog.records if "below its best" in record.getMessage()]
    assert len(warnings) == 2
    assert warnings[0].startswith(
        "Step 2: the held-out accuracy of code is 0.000, 1.000 below its best (1.000 at step 0)"
    )


def test_the_mixture_can_answer(make_trainer):
    mixture = {"weights": "equal", "curriculum": {"kind": "forgetting", "boost": 3.0}}
    trainer = make(make_trainer, falls_at=1, mixture=mixture, max_steps=4, per_device_train_batch_size=8)
    trainer.train()
    shares = history(trainer, "mixture/code/asked_share")
    assert shares[0] == pytest.approx(0.5)
    assert shares[-1] == pytest.approx(0.75)


def test_a_checkpoint_knows_the_best(make_trainer, tmp_path):
    mixture = {"weights": "equal", "curriculum": {"kind": "forgetting", "boost": 3.0}}
    options = {"falls_at": 1, "mixture": mixture, "per_device_train_batch_size": 8, "save_strategy": "steps"}
    whole = make(make_trainer, **options, max_steps=4, save_steps=2)
    whole.train()
    resumed = make(make_trainer, **options, max_steps=4, save_steps=5)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert history(resumed, "forgetting/code")[-2:] == history(whole, "forgetting/code")[-2:] == [1, 1]
    for key in ("mixture/code/asked_share", "mixture/math/asked_share"):
        assert history(resumed, key) == history(whole, key)
