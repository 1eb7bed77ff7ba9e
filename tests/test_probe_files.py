"""The files of a probe: what was written is read, whole or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcpo_rl.errors import RunError
from mcpo_rl.runs.probe import ProbeDirectory, ProbeSet, ProbeState


def make_set(**changes: Any) -> ProbeSet:
    values: dict[str, Any] = {
        "prompts": [[{"role": "user", "content": "π?"}], "plain\u2028text", [{"role": "system", "content": "x"}]],
        "completions": ["3.14\n…", "ok", ""],
        "domains": ["math", "code", "math"],
        "keys": ["a", "b", "a"],
        "verdicts": ["correct", "incorrect", "incorrect"],
        "truncated": [False, True, False],
        "chat_template_kwargs": {"enable_thinking": False},
        "origin": "builtin:tiny",
    }
    return ProbeSet(**(values | changes))


def state(step: int, fingerprint: str = "f") -> ProbeState:
    features = np.arange(12, dtype=np.float32).reshape(3, 4) + step
    return ProbeState(step=step, features=features, fingerprint=fingerprint, layer=2, pooling="last")


def test_a_set_comes_back_as_it_was(tmp_path: Path) -> None:
    directory = ProbeDirectory(tmp_path / "probe")
    assert not directory.exists() and directory.steps() == []
    directory.write_set(make_set())
    assert directory.exists() and directory.read_set() == make_set()
    assert directory.read_set().fingerprint == make_set().fingerprint
    assert [path.name for path in directory.path.iterdir()] == ["set.parquet"]


def test_half_a_character_can_be_written(tmp_path: Path) -> None:
    directory, broken = ProbeDirectory(tmp_path), make_set(completions=["\ud83d", "b", "c"])
    directory.write_set(broken)
    assert directory.read_set().completions == ["?", "b", "c"]
    assert directory.read_set().fingerprint == broken.fingerprint


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    directory = ProbeDirectory(tmp_path)
    for step in (20, 0, 1_000_000):
        directory.write_state(state(step))
    assert directory.steps() == [0, 20, 1_000_000]
    found = directory.read_state(20)
    np.testing.assert_array_equal(found.features, state(20).features)
    assert found.features.dtype == np.float32
    assert (found.step, found.fingerprint, found.layer, found.pooling) == (20, "f", 2, "last")
    directory.forget_after(20)
    assert directory.steps() == [0, 20]


def test_states_of_other_rollouts_go_with_them(tmp_path: Path) -> None:
    directory = ProbeDirectory(tmp_path)
    directory.write_set(make_set())
    directory.write_state(state(0))
    directory.write_geometry(0, make_set().fingerprint, 1, {"drift": 0.5})
    directory.write_set(make_set())
    assert directory.steps() == [0]
    directory.write_set(make_set(completions=["a", "b", "c"]))
    assert directory.steps() == [] and directory.read_geometry(make_set().fingerprint, 1) == {}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"completions": ["a", "b", "c"]}, False),
        ({"truncated": [True, True, False]}, False),
        ({"chat_template_kwargs": {}}, False),
        ({"origin": "elsewhere"}, True),
        ({"verdicts": ["correct"] * 3}, True),
    ],
)
def test_the_fingerprint_is_of_what_the_states_depend_on(change: dict[str, Any], same: bool) -> None:
    assert (make_set(**change).fingerprint == make_set().fingerprint) is same


def test_numbers_are_kept_by_step(tmp_path: Path) -> None:
    directory = ProbeDirectory(tmp_path)
    directory.write_geometry(10, "f", 1, {"cka": 0.5})
    directory.write_geometry(0, "f", 1, {"cka": 1.0})
    assert directory.read_geometry("f", 1) == {0: {"cka": 1.0}, 10: {"cka": 0.5}}
    assert directory.read_geometry("other", 1) == {} == directory.read_geometry("f", 2)
    directory.write_geometry(0, "f", 2, {"cka": 0.9})
    assert directory.read_geometry("f", 2) == {0: {"cka": 0.9}}


def test_refusals(tmp_path: Path) -> None:
    directory = ProbeDirectory(tmp_path)
    with pytest.raises(RunError, match="holds no probe set"):
        directory.read_set()
    with pytest.raises(RunError, match="no states of step 5; steps recorded: none"):
        directory.read_state(5)
    directory.set_file.write_bytes(b"no")
    (tmp_path / "step_000005.parquet").write_bytes(b"no")
    with pytest.raises(RunError, match=r"set\.parquet cannot be read"):
        directory.read_set()
    with pytest.raises(RunError, match=r"step_000005\.parquet cannot be read"):
        directory.read_state(5)
    with pytest.raises(RunError, match="domains has 1 rows"):
        make_set(domains=["math"])
    ProbeDirectory(tmp_path / "a").write_state(state(1))
    (tmp_path / "a" / "step_000001.parquet").rename(directory.set_file)
    with pytest.raises(RunError, match="no column `prompt`"):
        directory.read_set()
    ProbeDirectory(tmp_path / "b").write_set(make_set())
    (tmp_path / "b" / "set.parquet").rename(tmp_path / "step_000005.parquet")
    with pytest.raises(RunError, match="parts of it are missing"):
        directory.read_state(5)
