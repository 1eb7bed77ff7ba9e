"""A checkpoint of two ranks resumed on one, on each engine: the same run, or the reason why not before it is loaded."""

from __future__ import annotations

import json

import pytest

from .engines import Engine
from .launcher import launch
from .resuming import KINDS

pytestmark = pytest.mark.engines


def found_by(directory, engine):
    found = {kind: {} for kind in KINDS[engine]}
    for ranks in (2, 1):
        launch("engines.resuming", [str(directory), engine], ranks=ranks)
        for kind, attempts in json.loads((directory / f"{ranks}.json").read_text()).items():
            found[kind] |= attempts
    return found


def assert_refused_in_time(attempt, *parts):
    assert attempt["untouched"]
    for part in parts:
        assert part in attempt["refused"]


@pytest.mark.parametrize("engine", [Engine.DDP, Engine.FSDP2])
def test_a_run_goes_on_with_other_ranks(tmp_path, engine):
    for attempts in found_by(tmp_path, engine).values():
        first, resumed, straight = (attempts[name] for name in ("first", "resumed", "straight"))
        # The problems that one process would have trained on, in its order; and its numbers.
        assert first["prompts"] + resumed["prompts"] == straight["prompts"] and len(straight["prompts"]) == 4
        for key in ("losses", "norms", "contrastive"):
            assert len(straight[key]) == 4
            assert resumed[key] == pytest.approx(straight[key], rel=1e-4), key
        assert_refused_in_time(attempts["head"], "embedding_dim 16, this one 8", "head_dim")
        assert_refused_in_time(
            attempts["batch"],
            "was written on 2 ranks, now there are 1",
            "rollouts of an optimizer step (per_device_train_batch_size x ranks x gradient_accumulation_steps) were 16,"
            " now 8",
        )


def test_deepspeed_is_refused_before_it_fails(tmp_path):
    for kind, attempts in found_by(tmp_path, Engine.ZERO2).items():
        assert attempts["first"]["losses"] == pytest.approx(attempts["straight"]["losses"][:2], rel=1e-4)
        assert_refused_in_time(attempts["head"], "embedding_dim 16, this one 8")
        for name in ("batch", "resumed"):
            assert_refused_in_time(
                attempts[name], f"2 ranks by DeepSpeed ZeRO-{kind[-1]}", "Resume on 2 ranks", "load_universal"
            )
