"""What is trained on: built directories as they lie on disk, other sources read and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpo_rl.cli.training_data import training_data
from mcpo_rl.data import load_problems
from mcpo_rl.data.build import build, build_config_from_mapping
from mcpo_rl.errors import ConfigError, ProblemError
from mcpo_rl.runs.manifest import data_fingerprint

SOURCES = [{"source": "procedural", "domain": domain, "count": 12} for domain in ("math", "logic")]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    build(build_config_from_mapping({"sources": SOURCES}), tmp_path / "set")
    return tmp_path / "set"


def test_a_built_directory_is_mapped_and_its_manifest_believed(built: Path) -> None:
    data = training_data([{"path": str(built)}])
    problems = load_problems({"path": str(built)})
    assert data.fingerprint == data_fingerprint(problems)
    assert data.dataset.cache_files
    assert [row["id"] for row in data.dataset] == [problem.id for problem in problems]


def test_among_other_sources(built: Path) -> None:
    other = {"source": "procedural", "domain": "code", "count": 5}
    data = training_data([{"path": str(built)}, other])
    rows = len(load_problems({"path": str(built)}))
    assert len(data.dataset) == data.fingerprint["problems"] == rows + 5
    assert data.fingerprint["domains"]["code"] == 5 and list(data.fingerprint["domains"]) == ["code", "logic", "math"]
    assert data.fingerprint != training_data([other, {"path": str(built)}]).fingerprint
    limited = training_data([{"path": str(built), "limit": 3}])
    assert limited.fingerprint == data_fingerprint(load_problems({"path": str(built), "limit": 3}))


def test_sources_that_are_read(tmp_path: Path) -> None:
    data = training_data(SOURCES)
    assert data.fingerprint == data_fingerprint([problem for entry in SOURCES for problem in load_problems(entry)])
    assert len(data.dataset) == 24
    with pytest.raises(ProblemError, match="there are no problems to train on"):
        training_data([])


def test_the_problems_of_some_domains_alone(built: Path) -> None:
    whole = training_data([{"path": str(built)}, *SOURCES])
    logic = training_data([{"path": str(built)}, *SOURCES], ["logic"])
    assert [row["id"] for row in logic.dataset] == [row["id"] for row in whole.dataset if row["domain"] == "logic"]
    assert logic.fingerprint["domains"] == {"logic": len(logic.dataset)}
    assert logic.fingerprint["problems"] == len(logic.dataset)
    both = training_data([{"path": str(built)}, *SOURCES], ["math", "logic"])
    assert both.fingerprint["problems"] == whole.fingerprint["problems"]
    assert len({data.fingerprint["sha256"] for data in (whole, logic, both)}) == 3
    for wrong, told in (
        (["logics"], "names `logics`.*of logic, math. Did you mean `logic`"),
        ([], "`domains` is empty"),
    ):
        with pytest.raises(ConfigError, match=told):
            training_data(SOURCES, wrong)
