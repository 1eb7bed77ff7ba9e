"""A probe recorded by two ranks is the one that a single process records, whichever engine shards the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcpo_rl.runs.probe import ProbeDirectory

from .engines import Engine
from .launcher import launch

pytestmark = pytest.mark.engines


def recorded(directory: Path, engine: Engine, ranks: int) -> dict[int, np.ndarray]:
    launch("engines.probing_worker", [str(directory), engine, str(ranks)], ranks=ranks)
    probe = ProbeDirectory(directory / f"{engine}-{ranks}")
    return {step: probe.read_state(step).features for step in probe.steps()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, np.ndarray]:
    return recorded(tmp_path_factory.mktemp("alone"), Engine.DDP, 1)


@pytest.mark.parametrize("engine", [*Engine])
def test_two_ranks_record_what_one_does(tmp_path: Path, alone: dict[int, np.ndarray], engine: Engine) -> None:
    if engine in (Engine.ZERO2, Engine.ZERO3):
        pytest.importorskip("deepspeed")
    # Nine rollouts in passes of four on two ranks: some are padding, and their order is not the set's.
    found = recorded(tmp_path, engine, 2)
    assert list(found) == list(alone) == [0, 2]
    assert not np.allclose(alone[0], alone[2], atol=1e-4)
    for step, states in alone.items():
        np.testing.assert_allclose(found[step], states, rtol=1e-3, atol=1e-4)
