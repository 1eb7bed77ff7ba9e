"""The probe of a run as the analysis reads it: whole, damaged, of another set."""

from pathlib import Path

import numpy as np
import pytest

from mcpo_rl.analysis.geometry import load_probe, record_geometry
from mcpo_rl.analysis.geometry import probe as probe_module
from mcpo_rl.errors import RunError
from mcpo_rl.runs.probe import ProbeDirectory, ProbeSet, ProbeState


def make_set(count: int = 24, *, word: str = "so") -> ProbeSet:
    return ProbeSet(
        prompts=[[{"role": "user", "content": f"{row // 2}?"}] for row in range(count)],
        completions=[f"{word} {row}" for row in range(count)],
        domains=[("math", "code", "logic")[row // 2 % 3] for row in range(count)],
        keys=[f"k{row // 2}" for row in range(count)],
        verdicts=["correct" if row % 2 else "incorrect" for row in range(count)],
        truncated=[False] * count,
    )


def state(probe_set: ProbeSet, step: int, **changes: object) -> ProbeState:
    features = np.random.default_rng(0).normal(size=(len(probe_set), 6)).astype(np.float32)
    features[:8] += step / 10
    values: dict[str, object] = {"step": step, "features": features, "fingerprint": probe_set.fingerprint}
    return ProbeState(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> ProbeDirectory:
    made = ProbeDirectory(tmp_path / "run" / "probe")
    made.write_set(make_set())
    for step in (0, 10, 20):
        made.write_state(state(make_set(), step))
    return made


def test_reads_everything(directory: ProbeDirectory) -> None:
    probe = load_probe(directory.path.parent)
    assert probe is not None and probe.steps == [0, 10, 20] and probe.remarks == [] and probe.layer == -1
    assert probe.series("drift")[0] == [0, 10, 20]
    drift = probe.series("drift")[1]
    assert drift[0] == 0 and drift[2] == pytest.approx(2 * drift[1], rel=1e-5)
    assert {"separability", "cka/math", "distance/code/math", "overlap"} <= set(probe.names)
    assert probe.series("nothing") == ([], [])
    placed = probe.pca()
    assert placed.map.coordinates.shape == (3, 24, 2) and placed.rollouts == list(range(24))


def test_numbers_that_were_kept_are_not_computed_again(directory: ProbeDirectory, monkeypatch) -> None:
    logged = [record_geometry(directory, step) for step in (0, 10, 20)]
    monkeypatch.setattr(probe_module, "measure", lambda *_: pytest.fail("computed again"))
    probe = load_probe(directory.path)
    assert probe is not None
    assert [probe.measured[step] for step in probe.steps] == [
        {name.removeprefix("probe/"): value for name, value in line.items()} for line in logged
    ]
    assert all(name.startswith("probe/") for name in logged[0])


@pytest.mark.parametrize("damage", ["formulas", "set", "text"])
def test_numbers_of_other_formulas_or_another_set_are(directory: ProbeDirectory, monkeypatch, damage: str) -> None:
    right = record_geometry(directory, 10)["probe/alignment"]
    if damage == "text":
        directory.geometry_file.write_text('{"steps":')
    elif damage == "formulas":
        monkeypatch.setattr(probe_module, "FORMULAS", probe_module.FORMULAS + 1)
    else:
        directory.geometry_file.write_text(directory.geometry_file.read_text().replace(make_set().fingerprint, "x"))
    directory.geometry_file.write_text(directory.geometry_file.read_text().replace("alignment", "nonsense"))
    for step in (0, 20):
        (directory.path / f"step_{step:06d}.parquet").unlink()
    probe = load_probe(directory.path)
    assert probe is not None and probe.measured[10]["alignment"] == pytest.approx(right)
    assert "nonsense" not in probe.names


def test_what_does_not_fit_is_left_out_and_said(directory: ProbeDirectory) -> None:
    directory.write_state(state(make_set(), 30, fingerprint="another"))
    broken = state(make_set(), 40)
    broken.features[3, 2] = np.nan
    directory.write_state(broken)
    directory.write_state(state(make_set(), 50, layer=2))
    (directory.path / "step_000060.parquet").write_bytes(b"no")
    probe = load_probe(directory.path)
    assert probe is not None and probe.steps == [0, 10, 20]
    told = ["step 30", "step 40", "step 50", "step_000060"]
    assert len(probe.remarks) == 4
    assert all(name in remark for name, remark in zip(told, probe.remarks, strict=True))


def test_without_the_start_there_is_nothing_to_compare_with(directory: ProbeDirectory) -> None:
    (directory.path / "step_000000.parquet").unlink()
    probe = load_probe(directory.path)
    assert probe is not None and probe.steps == [10, 20]
    assert "cka" not in probe.names and "drift" not in probe.names and "alignment" in probe.names
    assert "that training started from" in probe.remarks[0]
    assert "probe/cka" not in record_geometry(directory, 10)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert load_probe(tmp_path) is None
    made = ProbeDirectory(tmp_path / "probe")
    made.write_set(make_set())
    assert load_probe(tmp_path) is None
    made.write_set(make_set(2))
    made.write_state(state(make_set(2), 0))
    assert load_probe(tmp_path) is None
    made.set_file.write_bytes(b"no")
    assert load_probe(tmp_path) is None


def test_a_diverged_step_is_not_measured_while_training(directory: ProbeDirectory) -> None:
    broken = state(make_set(), 40)
    broken.features[:] = np.inf
    directory.write_state(broken)
    assert record_geometry(directory, 40) == {}
    with pytest.raises(RunError, match="another probe set"):
        directory.write_state(state(make_set(), 50, fingerprint="another"))
        record_geometry(directory, 50)


def test_a_map_keeps_every_domain_and_verdict(directory: ProbeDirectory, monkeypatch) -> None:
    monkeypatch.setattr(probe_module, "MOST_MAPPED_ROLLOUTS", 12)
    monkeypatch.setattr(probe_module, "MOST_MAPPED_STEPS", 2)
    probe = load_probe(directory.path)
    assert probe is not None
    placed = probe.tsne()
    assert placed is not None and placed.steps == [0, 20] and len(placed.rollouts) == 12
    kinds = {(probe.rollouts.domains[row], probe.rollouts.verdicts[row]) for row in placed.rollouts}
    assert len(kinds) == 6
    assert placed.map.coordinates.shape == (2, 12, 2)
