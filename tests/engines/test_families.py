"""Families of decoders beyond the common ones: the gradient of one giant batch, or a refusal that says why."""

from __future__ import annotations

from typing import Any

import pytest

from mcpo_rl.errors import ModelError

from .engines import Engine
from .models import FAMILIES, OTHER_FAMILIES, REFUSED_FAMILIES
from .recording import Recording
from .reference import Reference, add, norm, relative_errors
from .scenario import Scenario
from .training import make_trainer

pytestmark = pytest.mark.engines

COMMON = set(FAMILIES) - set(OTHER_FAMILIES) - set(REFUSED_FAMILIES)
ALREADY_APART = {"recurrent_gemma": 1e-3}
"""The policy's gradient alone is already 3e-4 from that of one batch: the difference is not the term's."""


def recorded(family: str, directory: Any, **options: Any) -> tuple[Scenario, dict[str, Any]]:
    scenario = Scenario(family=family, options=options)
    trainer = make_trainer(scenario, Engine.DDP, directory)
    recording = Recording(trainer)
    trainer.train()
    return scenario, recording.result()


@pytest.mark.parametrize("layer", [-1, 1])
@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_gradient_of_one_giant_batch(family, layer, measured, tmp_path):
    scenario, result = recorded(family, tmp_path, feature_layer=layer)
    reference = Reference(scenario, result)
    policy, contrastive = reference.gradients(0)
    assert norm(contrastive) > 0.05 * norm(policy) > 0
    found = result["steps"][0]["gradients"]
    error, worst = relative_errors(found, add(policy, contrastive))
    row = {"engine": "one", "ranks": 1, "dtype": "float32", "scenario": f"{family}, layer {layer}", "step": 1}
    measured.append({**row, "error": error, "worst_parameter": worst})
    assert error < ALREADY_APART.get(family, 1e-4)


@pytest.mark.parametrize("family", REFUSED_FAMILIES)
def test_what_cannot_work_is_refused(family, tmp_path):
    with pytest.raises(ModelError, match="hidden states cannot be read"):
        make_trainer(Scenario(family=family), Engine.DDP, tmp_path)


def test_every_common_family_is_trained_on_several_ranks():
    from .scenario import SCENARIOS

    assert {scenario.family for scenario in SCENARIOS.values()} >= COMMON
