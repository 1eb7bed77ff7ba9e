"""The domains' gradients are the same on one rank and on two, whichever engine shards the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .engines import Engine
from .interference_worker import CASES
from .launcher import launch

pytestmark = pytest.mark.engines


def measured(directory: Path, engine: Engine, ranks: int) -> dict[str, Any]:
    arguments = [str(directory), engine, str(ranks)]
    launch("engines.interference_worker", arguments, ranks=ranks)
    return json.loads((directory / f"{engine}-{ranks}.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(tmp_path_factory.mktemp("alone"), Engine.DDP, 1)


@pytest.mark.parametrize("engine", [*Engine])
def test_two_ranks_measure_what_one_does(tmp_path, alone, engine):
    if engine in (Engine.ZERO2, Engine.ZERO3):
        pytest.importorskip("deepspeed")
    found = measured(tmp_path, engine, 2)
    for case in CASES:
        cosines = [key for key in alone[case] if "/cosine/" in key]
        assert cosines and max(value for key, value in alone[case].items() if "/norm/" in key) > 0
        assert found[case] == pytest.approx(alone[case], rel=1e-3, abs=1e-5), case
    of_term = {key for key in found["contrastive"] if "/term/" in key}
    assert of_term == {key for key in alone["contrastive"] if "/term/" in key} != set()
    # The contrastive term is not in the rest.
    rest = {key: value for key, value in found["contrastive"].items() if key not in of_term}
    assert rest == pytest.approx(found["last"], rel=1e-3, abs=1e-5)
