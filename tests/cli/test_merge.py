"""`mcpo-rl merge`: of runs a run, of models a model; what does not fit together is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mcpo_rl.runs import RunDirectory

Command = Callable[..., Any]


@pytest.fixture
def specialists(model_path: Path, recipe: Path, problems_file: Path, tmp_path: Path) -> list[Path]:
    """Two finished runs: the base model with 1 and with 3 added to its first tensor."""
    content = yaml.safe_load(recipe.read_text()) | {"eval_problems": [{"path": str(problems_file), "limit": 3}]}
    paths = []
    for name, change in (("one", 1.0), ("three", 3.0)):
        own = {"output_dir": str(tmp_path / name), "evaluation": {"before": name == "one"}}
        run = RunDirectory.create(tmp_path / name, content | own)
        (run.path / "model").mkdir()
        for file in model_path.iterdir():
            (run.path / "model" / file.name).write_bytes(file.read_bytes())
        weights = load_file(model_path / "model.safetensors")
        first = min(weights)
        save_file(
            weights | {first: weights[first] + change}, run.path / "model" / "model.safetensors", {"format": "pt"}
        )
        run.write_manifest(status="finished")
        paths.append(run.path)
    return paths


def added(path: Path, model_path: Path) -> float:
    base, weights = (load_file(place / "model.safetensors") for place in (model_path, path))
    first = min(base)
    assert all(torch.equal(weights[name], tensor) for name, tensor in base.items() if name != first)
    return float((weights[first] - base[first]).mean())


def test_of_runs_a_run(command: Command, specialists: list[Path], model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    answer = command("merge", *specialists, "--output", out, "--weights", "3,1", "--quiet")
    assert answer.status == 0, answer.err
    assert added(out / "model", model_path) == pytest.approx(1.5, abs=1e-5)
    run = RunDirectory.open(out)
    manifest = run.read_manifest()
    assert (manifest["status"], manifest["method"], manifest["seed"]) == ("finished", "merge", 3)
    assert manifest["data"]["heldout"]["problems"] == 3
    assert run.read_config()["runs"] == [str(path) for path in specialists]
    assert json.loads(run.eval_file.read_text())["micro"]["problems"] == 3
    assert not run.start_eval_file.exists(), "that of the base is the runs' own"
    assert "+1.000" in answer.out and "cosine to the others" in answer.out and f"run:    {out}" in answer.out

    # As if it had been killed before the evaluation: the merged model is taken as it is.
    run.eval_file.unlink()
    run.write_manifest(status="failed")
    refused = command("merge", *specialists, "--output", out, "--weights", "3,1")
    assert refused.status == 2 and "Continue it with --resume" in refused.err
    assert command("merge", *specialists, "--output", out, "--weights", "3,1", "--resume").status == 0
    assert run.read_manifest()["status"] == "finished" and run.eval_file.is_file()
    other = command("merge", *specialists, "--output", out, "--form", "ties", "--resume")
    assert other.status == 2 and "holds a run with another config: `merge.form` was 'average', now 'ties'" in other.err


def test_of_models_a_model(command: Command, specialists: list[Path], model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    models = [specialists[0] / "model", specialists[1]]  # a run stands for its model
    answer = command("merge", "--base", model_path, *models, "--output", out, "--scale", "2")
    assert answer.status == 0, answer.err
    assert added(out, model_path) == pytest.approx(4.0, abs=1e-5)
    assert f"model: {out}" in answer.out and not (out / "manifest.json").exists()


def test_what_cannot_be_merged(command: Command, specialists: list[Path], tmp_path: Path) -> None:
    def refused(*words: Any) -> str:
        answer = command("merge", *words, "--output", tmp_path / "out")
        assert answer.status == 2 and len(answer.err.strip().splitlines()) == 1
        return str(answer.err)

    first, second = specialists
    assert "merging takes two models or more; 1 given" in refused(first)
    assert "there is no form of merging `tie`" in refused(first, second, "--form", "tie")
    assert "--weights 1,x: expected numbers" in refused(first, second, "--weights", "1,x")
    assert "There is no run directory" in refused(first, tmp_path / "twoo")
    run = RunDirectory.open(second)
    run.config_file.write_text(yaml.safe_dump(run.read_config() | {"seed": 4}))
    assert "differ in `seed`, so they cannot be merged into one run. With --base" in refused(first, second)
    (second / "model").rename(second / "other")
    assert "has no `model` yet: let the run finish first" in refused(first, second)
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_fit_leaves_no_run(
    command: Command, specialists: list[Path], model_path: Path, tmp_path: Path
) -> None:
    file = specialists[1] / "model" / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor[..., :1].contiguous() for name, tensor in weights.items()}, file, {"format": "pt"})
    answer = command("merge", *specialists, "--output", tmp_path / "out", "--quiet")
    assert answer.status == 2 and str(specialists[1]) in answer.err
    assert not (tmp_path / "out").exists()
