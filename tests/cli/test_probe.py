"""`mcpo-rl probe` and `probe` in a recipe."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from mcpo_rl.analysis.geometry import load_probe
from mcpo_rl.config import load_recipe
from mcpo_rl.errors import ConfigError
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.probe import ProbeDirectory
from mcpo_rl.scores import EvaluationRecord


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    """A run of two steps with a probe, evaluated before training."""
    from mcpo_rl.cli import main

    folder = tmp_path_factory.mktemp("probe")
    rows = [{"domain": "math", "prompt": f"{n} + 1 = ?", "reference": str(n + 1)} for n in range(6)]
    yes = {"kind": "yes_no", "answer": "yes"}
    rows += [{"domain": "logic", "prompt": f"Is {n} a number?", "reference": yes} for n in range(6)]
    problems = folder / "problems.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "model": str(model_path),
        "output_dir": str(folder / "run"),
        "seed": 3,
        "problems": [{"path": str(problems)}],
        "eval_problems": [{"path": str(problems)}],
        "evaluation": {"before": True, "samples": 2},
        "probe": {"per_domain": 8},
        "max_steps": 2,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 6,
        "learning_rate": 0.01,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "feature_layer": 0,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["train", str(folder / "recipe.yaml"), "--quiet"]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def states(path: Path) -> dict[int, np.ndarray]:
    probe = ProbeDirectory(path)
    return {step: probe.read_state(step).features for step in probe.steps()}


def test_a_recipe_records_it_while_training(run: Path) -> None:
    probe = load_probe(run)
    assert probe is not None and probe.steps == [0, 1, 2] and probe.layer == 0
    # Chosen from the evaluation before training, so nothing was drawn for it.
    start = EvaluationRecord.read(run / "eval_start.json")
    assert set(probe.rollouts.keys) <= {score.key for score in start.scores}
    assert probe.rollouts.origin == load_recipe(run / "config.yaml").model
    logged = {row["step"]: row for row in RunDirectory.open(run).read_metrics() if "probe/drift" in row}
    assert [logged[step]["probe/drift"] for step in (0, 1, 2)] == probe.series("drift")[1]


def test_afterwards_it_is_the_same(run: Path, command: Callable[..., object]) -> None:
    live = states(run / "probe")
    shutil.rmtree(run / "probe")
    answer = command("probe", run, "--per-domain", 8, "--quiet")
    assert answer.status == 0, answer.err
    again = states(run / "probe")
    assert list(again) == [0, 1, 2]
    for step, features in live.items():
        np.testing.assert_allclose(again[step], features, rtol=1e-4, atol=1e-5)
    lines = answer.out.splitlines()
    assert lines[0].split()[0] == "step" and "drift" in lines[0]
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
    assert f"{run}/probe (" in answer.out


def test_only_what_is_missing_is_recorded(run: Path, command: Callable[..., object]) -> None:
    kept = (run / "probe" / "step_000001.parquet").stat().st_mtime_ns
    (run / "probe" / "step_000002.parquet").unlink()
    assert command("probe", run).err.count("models") == 1
    assert list(states(run / "probe")) == [0, 1, 2]
    assert (run / "probe" / "step_000001.parquet").stat().st_mtime_ns == kept


def test_other_rollouts_and_another_layer(run: Path, command: Callable[..., object], problems_file: Path) -> None:
    refused = command("probe", run, "--problems", problems_file)
    assert refused.status == 2 and "--anew" in refused.err
    refused = command("probe", run, "--layer", -1)
    assert refused.status == 2 and "has states of layer 0" in refused.err and "--output" in refused.err
    beside = run / "probe-last"
    answer = command(
        "probe",
        run,
        "--layer",
        -1,
        "--output",
        beside,
        "--completions",
        run / "eval.json",
        "--per-domain",
        4,
        "--quiet",
    )
    assert answer.status == 0, answer.err
    assert {ProbeDirectory(beside).read_state(step).layer for step in (0, 1, 2)} == {-1}
    assert ProbeDirectory(beside).read_set().origin.endswith("eval.json")
    before = ProbeDirectory(run / "probe").read_set().fingerprint
    answer = command(
        "probe", run, "--problems", problems_file, "--per-domain", 4, "--samples", 2, "--anew", "--seed", 5, "--quiet"
    )
    assert answer.status == 0, answer.err
    assert ProbeDirectory(run / "probe").read_set().fingerprint != before
    assert list(states(run / "probe")) == [0, 1, 2]


def test_a_checkpoint_that_cannot_be_loaded_is_left_out_and_said(run: Path, command: Callable[..., object]) -> None:
    (run / "checkpoints" / "checkpoint-1" / "config.json").unlink()
    (run / "probe" / "step_000001.parquet").unlink()
    answer = command("probe", run, "--quiet")
    assert answer.status == 0
    assert "left out step 1" in answer.err
    assert list(states(run / "probe")) == [0, 2]


def test_a_lora_is_measured_with_its_base(run: Path, command: Callable[..., object], model_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    target = run / "checkpoints" / "checkpoint-1"
    tokenizer_files = [path for path in target.iterdir() if path.name.startswith("tokenizer")]
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_path), LoraConfig(r=2, task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.5)
    model.save_pretrained(run / "lora")
    for path in tokenizer_files:
        shutil.copy(path, run / "lora")
    shutil.rmtree(target)
    (run / "lora").rename(target)
    (run / "probe" / "step_000001.parquet").unlink()
    answer = command("probe", run, "--quiet")
    assert answer.status == 0, answer.err
    found = states(run / "probe")
    assert list(found) == [0, 1, 2], answer.err
    assert not np.allclose(found[1], found[0], atol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "There is no run directory"),
        (("RUN", "--problems", "x", "--completions", "y"), "without --problems"),
        (("RUN", "--per-domain", "1"), "at least 2"),
        (("RUN", "--temperature", "0"), "above 0"),
        (("RUN", "--output", "NEW", "--layer", "7"), "expected -1"),
        (("RUN", "--output", "NEW", "--completions", "none.json"), "There are no completions"),
    ],
)
def test_mistakes(
    run: Path, tmp_path: Path, command: Callable[..., object], words: tuple[str, ...], message: str
) -> None:
    places = {"RUN": run, "NEW": tmp_path / "new"}
    answer = command("probe", *(places.get(word, word) for word in words))
    assert answer.status == 2 and message in answer.err and answer.err.count("\n") <= 2
    assert "Traceback" not in answer.err


def test_a_run_that_names_neither_model_nor_problems(
    tmp_path: Path, command: Callable[..., object], model_path
) -> None:
    run = RunDirectory.create(tmp_path / "bare", {})
    assert "--model" in command("probe", run.path).err
    answer = command("probe", run.path, "--model", model_path)
    assert answer.status == 2 and "--problems" in answer.err and "--completions" in answer.err


class TestRecipe:
    def recipe(self, **probe: object) -> dict[str, object]:
        return {"model": "m", "output_dir": "o", "problems": [{"path": "a"}], "eval_problems": [{"path": "b"}]} | probe

    def read(self, tmp_path: Path, content: dict[str, object]):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_recipe(path)

    def test_off_unless_asked_for(self, tmp_path: Path) -> None:
        plain = self.read(tmp_path, self.recipe())
        # Not even in what a run keeps of it: runs from before can be resumed.
        assert plain.probe is None and "probe" not in plain.to_mapping()
        asked = self.read(tmp_path, self.recipe(probe={}))
        assert asked.probe is not None and asked.probe.per_domain == 64
        assert self.read(tmp_path, asked.to_mapping()) == asked

    @pytest.mark.parametrize(
        ("probe", "message"),
        [
            (True, "`probe` is true; expected a mapping"),
            ({"per_domian": 3}, "unknown key `probe.per_domian`. Did you mean `per_domain`"),
            ({"per_domain": 1}, "`probe.per_domain` is 1"),
            ({"samples": "four"}, "`probe.samples` is the text 'four'"),
            ({"completions": "a.json", "problems": [{"path": "c"}]}, "both `completions` and `problems`"),
            ({"problems": [{"domain": "math"}]}, "`probe.problems.0` has none of the keys"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, probe: object, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(tmp_path, self.recipe(probe=probe))
        assert message in str(caught.value)

    def test_something_has_to_be_probed(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="`probe` needs problems"):
            self.read(tmp_path, self.recipe(probe={}) | {"eval_problems": []})

    def test_on_several_processes_completions_are_asked_for(self, tmp_path: Path, monkeypatch) -> None:
        from mcpo_rl.cli import probing

        monkeypatch.setattr(probing, "PartialState", lambda: SimpleNamespace(num_processes=2))
        recipe = self.read(tmp_path, self.recipe(probe={}))
        with pytest.raises(ConfigError, match=r"mcpo-rl eval --model m .* `probe.completions: base.json`"):
            probing.check_probe(recipe, RunDirectory(tmp_path / "run"))
