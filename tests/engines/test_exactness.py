"""Real training steps on several ranks have the gradient of one giant batch, and one head, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from .engines import Engine
from .launcher import launch
from .recording import digest
from .reference import Reference, add, norm, relative_errors
from .scenario import FOUR_RANKS, ONE_RANK, SCENARIOS

pytestmark = pytest.mark.engines

LAUNCHES: dict[tuple[Engine, int], tuple[str, ...]] = {
    (Engine.DDP, 1): ONE_RANK,
    (Engine.DDP, 2): (*SCENARIOS,),
    (Engine.DDP, 4): FOUR_RANKS,
    (Engine.FSDP2, 2): (*SCENARIOS,),
    (Engine.FSDP2, 4): FOUR_RANKS,
    (Engine.ZERO2, 2): (*SCENARIOS,),
    (Engine.ZERO3, 2): (*SCENARIOS,),
}
TOLERANCE, BF16_TOLERANCE = 1e-4, 2e-2
SOURCES = {"sampled": "generation", "sampled_last_token": "generation", "sampled_lora": "generation"}
"""Where nothing is sharded; everywhere else the training pass and a pass over the other micro-batches."""

Recorded = Callable[[Engine, int, str], dict[str, Any]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """What a scenario did; all those of an engine and a number of ranks come from one launch."""

    @cache
    def directory_of(engine: Engine, ranks: int) -> Path:
        if engine in (Engine.ZERO2, Engine.ZERO3):
            pytest.importorskip("deepspeed")
        directory = tmp_path_factory.mktemp(f"{engine}{ranks}")
        names = LAUNCHES[engine, ranks]
        launch("engines.worker", [str(directory), engine, *names], ranks=ranks, timeout_s=900)
        return directory

    @cache
    def load(engine: Engine, ranks: int, name: str) -> dict[str, Any]:
        return torch.load(directory_of(engine, ranks) / f"{name}.pt", weights_only=True)

    return load


EXPECTED: dict[str, tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = {}


def expected_gradients(name: str, result: dict[str, Any], number: int) -> Any:
    """The reference's gradients; the same rollouts and weights have them from one computation, whatever the split."""
    reference, step = Reference(SCENARIOS[name], result), result["steps"][number]
    heads = [one["head"] for one in result["steps"][: number + 1] if "head" in one]
    balanced = step["rows"] if name == "experts_balanced" else None
    parts = (name, number, reference.rollouts, sorted(reference.rows_of(number)), balanced)
    key = repr((parts, digest(result["steps"][0]["weights"]), digest(step["weights"]), digest(heads[-1])))
    if key not in EXPECTED:
        EXPECTED[key] = reference.gradients(number)
        assert any(reference.pool.chosen.values()) and any(reference.pool.same.values())
    return EXPECTED[key]


def check_source(engine: Engine, name: str, source: str) -> None:
    asked = SCENARIOS[name].source
    assert source == (asked or (SOURCES.get(name, "training") if engine is Engine.DDP else "training"))


GRADIENTS = [(engine, ranks, name) for (engine, ranks), names in LAUNCHES.items() for name in names]
CASES = [case for case in GRADIENTS if case[2] != "training"]


@pytest.mark.parametrize(("engine", "ranks", "name"), CASES)
def test_every_step_has_the_gradient_of_one_giant_batch(recorded, measured, engine, ranks, name):
    result = recorded(engine, ranks, name)
    assert result["ranks"] == ranks
    check_source(engine, name, result["source"])
    assert len(set(result["heads"])) == 1 and len(result["heads"]) == ranks
    assert len(result["steps"]) == SCENARIOS[name].steps
    for number, step in enumerate(result["steps"]):
        policy, contrastive = expected_gradients(name, result, number)
        # Neither hides the other's error.
        assert 0.2 < norm(contrastive) / norm(policy) < 5 or SCENARIOS[name].bf16
        error, worst = relative_errors(step["gradients"], add(policy, contrastive))
        kind = "bfloat16" if SCENARIOS[name].bf16 else "float32"
        row = {"engine": str(engine), "ranks": ranks, "dtype": kind, "scenario": name, "step": number + 1}
        measured.append({**row, "error": error, "worst_parameter": worst})
        if SCENARIOS[name].bf16:
            assert error < BF16_TOLERANCE
        else:
            assert error < TOLERANCE and worst < TOLERANCE


@pytest.mark.parametrize(("engine", "ranks"), [case for case in LAUNCHES if case[1] == 2])
def test_the_steps_of_a_generation_batch_make_up_its_gradient(recorded, engine, ranks):
    name = "several_steps_per_generation"
    result = recorded(engine, ranks, name)
    reference = Reference(SCENARIOS[name], result)
    steps = [set(reference.rows_of(number)) for number in range(2)]
    assert steps[0] | steps[1] == set(range(32)) and not steps[0] & steps[1]
    whole = add(*reference.gradients_of_all())
    first, second = (step["gradients"] for step in result["steps"])
    mean = {name: (first[name] + second[name]) / 2 for name in first}
    assert max(relative_errors(mean, whole)) < TOLERANCE


@pytest.mark.parametrize(("engine", "ranks"), [case for case in LAUNCHES if case != (Engine.DDP, 1)])
def test_several_steps_are_those_of_one_process(recorded, engine, ranks):
    """With relative strength: the weight of the term rests on norms that are measured over all ranks."""
    one, several = recorded(Engine.DDP, 1, "training"), recorded(engine, ranks, "training")
    assert len(set(several["heads"])) == 1
    start = one["steps"][0]["weights"]
    assert digest(start) == digest(several["steps"][0]["weights"])
    moved = {name: one["weights"][name] - start[name] for name in start}
    error, _ = relative_errors({name: several["weights"][name] - start[name] for name in start}, moved)
    assert error < TOLERANCE
    for expected, found in zip(one["log"], several["log"], strict=True):
        for key in KEYS & expected.keys():
            assert found[key] == pytest.approx(expected[key], rel=1e-4), key
    weights = [line["contrastive/weight"] for line in one["log"] if "contrastive/weight" in line]
    assert weights[0] == 0 < weights[1]


KEYS = {"loss", "grad_norm", "contrastive/loss", "contrastive/weight", "contrastive/grad_norm"}
KEYS |= {"contrastive/policy_grad_norm", "domain/math/accuracy"}
