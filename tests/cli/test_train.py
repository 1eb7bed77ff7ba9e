"""`mcpo-rl train` end to end on a tiny model: what a run leaves behind, how it stops and goes on, what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mcpo_rl.cli import trainer_config, training
from mcpo_rl.config import load_recipe
from mcpo_rl.errors import CheckpointError, MissingDependencyError
from mcpo_rl.runs import RunDirectory

Command = Callable[..., Any]


def parity_reward(completions: list[Any], **kwargs: Any) -> list[float]:
    """About half of random completions are right, so that there is something to learn and to contrast."""
    texts = [completion if isinstance(completion, str) else completion[0]["content"] for completion in completions]
    return [float(sum(map(ord, text)) % 2) for text in texts]


class InterruptingReward:
    """The same reward; the call given by `at` comes with a Ctrl-C."""

    __name__ = "parity_reward"

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def __call__(self, completions: list[Any], **kwargs: Any) -> list[float]:
        self.calls += 1
        if self.calls == self.at:
            signal.raise_signal(signal.SIGINT)
        return parity_reward(completions)


@pytest.fixture
def half_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "verifier_reward", parity_reward)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model" / "model.safetensors")


def test_a_run_directory_is_complete(command: Command, recipe: Path, problems_file: Path, tmp_path: Path) -> None:
    words = [
        "--max_steps",
        "2",
        "--eval_problems",
        f"[{{path: {problems_file}, limit: 3}}]",
        "--evaluation.before",
        "true",
    ]
    answer = command("train", recipe, *words)
    assert answer.status == 0, answer.err
    run = RunDirectory.open(tmp_path / "run")
    assert f"run:    {run.path}" in answer.out
    assert "95% interval" in answer.out
    assert "train mcpo 2/2" in answer.err
    manifest = run.read_manifest()
    assert manifest["status"] == "finished"
    assert manifest["step"] == 2
    assert manifest["feature_source"] == "generation"
    assert "hidden states from generation" in answer.out
    assert manifest["data"]["train"]["domains"] == {"logic": 6, "math": 6}
    assert yaml.safe_load(run.config_file.read_text())["max_steps"] == 2
    steps = [row for row in run.read_metrics() if "reward" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert {"contrastive/anchors", "domain/math/accuracy", "domain/logic/accuracy"} <= steps[0].keys()
    assert run.rollout_steps()
    assert len(run.read_rollouts()[0]) == 16
    assert {json.loads(file.read_text())["micro"]["problems"] for file in (run.eval_file, run.start_eval_file)} == {3}
    assert (run.path / "model" / "tokenizer.json").is_file()
    assert not list(run.path.glob("*.partial"))


def test_a_model_that_the_trainer_loads_by_itself_is_evaluated_before(
    half_right: None, command: Command, recipe: Path, problems_file: Path, tmp_path: Path
) -> None:
    words = ["--max_steps", 1, "--eval_problems", f"[{{path: {problems_file}, limit: 3}}]"]
    words += ["--evaluation.before", "true", "--model_init_kwargs", "{attn_implementation: eager}", "--quiet"]
    answer = command("train", recipe, *words)
    assert answer.status == 0, answer.err
    start = json.loads((RunDirectory.open(tmp_path / "run").start_eval_file).read_text())
    assert start["micro"]["problems"] == 3


def test_grpo_is_the_run_without_the_contrastive_term(
    half_right: None, command: Command, recipe: Path, tmp_path: Path
) -> None:
    assert command("train", recipe, "--max_steps", 1, "--method", "grpo", "--quiet").status == 0
    run = RunDirectory.open(tmp_path / "run")
    assert run.read_manifest()["feature_source"] is None
    rows = run.read_metrics()
    assert "domain/math/accuracy" in rows[0]
    assert not [key for key in rows[0] if key.startswith("contrastive/")]


def test_held_out_problems_are_watched_while_training(
    half_right: None, command: Command, recipe: Path, problems_file: Path, tmp_path: Path
) -> None:
    words = ["--eval_strategy", "steps", "--eval_steps", 1, "--per_device_eval_batch_size", 12, "--max_steps", 1]
    words += ["--eval_problems", f"[{{path: {problems_file}}}]", "--eval_on_start", "true", "--evaluation.samples", 1]
    answer = command("train", recipe, *words)
    assert answer.status == 0, answer.err
    rows = RunDirectory.open(tmp_path / "run").read_metrics()
    watched = [row for row in rows if "forgetting/math" in row]
    assert [row["step"] for row in watched] == [0, 1]
    assert watched[0]["forgetting/logic"] == 0.0 and "forgetting_alarm/logic" in watched[0]
    assert [row["step"] for row in rows if any(key.startswith("interference/norm/") for key in row)] == [1]


def test_quiet_says_nothing_of_progress(half_right: None, command: Command, recipe: Path) -> None:
    assert "train mcpo" not in command("train", recipe, "--max_steps", 1, "--quiet").err


def test_ctrl_c_then_resume_equals_an_uninterrupted_run(
    command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "verifier_reward", parity_reward)
    assert command("train", recipe, "--output_dir", tmp_path / "whole").status == 0

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(training, "verifier_reward", InterruptingReward(at=2))
    answer = command("train", recipe, "--quiet")
    assert answer.status == 130
    assert "stopped at step 2" in answer.err
    assert f"mcpo-rl train {recipe} --resume" in answer.err
    assert signal.getsignal(signal.SIGINT) is handler
    run = RunDirectory.open(tmp_path / "run")
    assert run.read_manifest()["status"] == "interrupted"
    assert not (run.path / "model").exists()
    assert [path.name for path in run.checkpoints.glob("checkpoint-*")] == ["checkpoint-2"]

    monkeypatch.setattr(training, "verifier_reward", parity_reward)
    assert command("train", recipe, "--resume").status == 0
    assert run.read_manifest()["status"] == "finished"
    assert [row["step"] for row in run.read_metrics() if "reward" in row] == [1, 2, 3, 4]
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    start = load_file(Path(load_recipe(recipe).model) / "model.safetensors")
    assert any(not torch.equal(start[name], whole[name]) for name in start), "nothing was trained"


def test_resume_drops_what_came_after_the_checkpoint(
    half_right: None, command: Command, recipe: Path, tmp_path: Path
) -> None:
    options = ["--save_strategy", "steps", "--save_steps", 2]
    assert command("train", recipe, *options).status == 0
    run = RunDirectory.open(tmp_path / "run")
    whole = weights(run.path)
    # As after a crash in step 4: the last checkpoint was being written.
    shutil.rmtree(run.path / "model")
    (run.checkpoints / "checkpoint-4" / "mcpo_state.pt").unlink()
    assert command("train", recipe, *options, "--resume").status == 0
    assert [row["step"] for row in run.read_metrics() if "reward" in row] == [1, 2, 3, 4]
    assert all(torch.equal(tensor, weights(run.path)[name]) for name, tensor in whole.items())


def test_resume_without_a_run_starts_it(half_right: None, command: Command, recipe: Path, tmp_path: Path) -> None:
    assert command("train", recipe, "--max_steps", 1, "--resume").status == 0
    assert RunDirectory.open(tmp_path / "run").read_manifest()["step"] == 1


def test_a_finished_run_without_checkpoint_is_not_started_over(
    half_right: None, command: Command, recipe: Path, tmp_path: Path
) -> None:
    assert command("train", recipe, "--max_steps", 1).status == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    answer = command("train", recipe, "--max_steps", 1, "--resume")
    assert answer.status == 2
    assert "keeps no checkpoint" in answer.err
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_directory_with_another_run_is_refused(half_right: None, command: Command, recipe: Path) -> None:
    assert command("train", recipe, "--max_steps", 1).status == 0
    answer = command("train", recipe, "--max_steps", 1)
    assert answer.status == 2
    assert "already holds a run" in answer.err
    assert "--resume" in answer.err
    answer = command("train", recipe, "--max_steps", 1, "--learning_rate", 0.5, "--resume")
    assert answer.status == 2
    assert "`learning_rate` was 0.01, now 0.5" in answer.err


def test_other_problems_under_the_same_name_are_not_resumed(
    half_right: None, command: Command, recipe: Path, problems_file: Path
) -> None:
    options = ["--save_strategy", "steps", "--save_steps", 1]
    assert command("train", recipe, "--max_steps", 1, *options).status == 0
    problems_file.write_text("".join(problems_file.read_text().splitlines(keepends=True)[1:]))
    answer = command("train", recipe, "--max_steps", 2, *options, "--resume")
    assert answer.status == 2
    assert "the problems are not those" in answer.err


def test_what_is_refused_on_resume_is_left_as_it_was(
    half_right: None, command: Command, recipe: Path, problems_file: Path, tmp_path: Path
) -> None:
    options = ["--save_strategy", "steps", "--save_steps", 1, "--logging_strategy", "no"]
    assert command("train", recipe, "--max_steps", 1, *options).status == 0
    (tmp_path / "run" / "metrics.jsonl").unlink()
    problems_file.write_text("".join(problems_file.read_text().splitlines(keepends=True)[1:]))
    assert command("train", recipe, "--max_steps", 2, *options, "--resume").status == 2
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-1" / "model.safetensors").is_file()


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(
    half_right: None, command: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcpo_rl.trainers.trl import MCPOTrainer

    real = MCPOTrainer._save_optimizer_and_scheduler

    def full(self: Any, output_dir: str) -> None:
        if output_dir.endswith("checkpoint-2"):
            raise OSError(28, "No space left on device")
        real(self, output_dir)

    monkeypatch.setattr(MCPOTrainer, "_save_optimizer_and_scheduler", full)
    words = ["--save_strategy", "steps", "--save_steps", 1, "--logging_steps", 50]
    answer = command("train", recipe, *words)
    assert answer.status == 2
    assert answer.err.strip().splitlines()[-1].startswith("mcpo-rl: error:")
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err
    run = RunDirectory.open(tmp_path / "run")
    assert run.read_manifest()["status"] == "failed"
    assert [path.name for path in run.checkpoints.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_full_disk_at_the_final_model(
    half_right: None, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcpo_rl.trainers.trl import MCPOTrainer

    def full(self: Any, output_dir: str | None = None, _internal_call: bool = False) -> None:
        Path(str(output_dir)).mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MCPOTrainer, "save_model", full)
    with pytest.raises(CheckpointError, match="No space left"):
        training.run_training(load_recipe(recipe, ["--max_steps", "1"]), quiet=True)
    assert not (tmp_path / "run" / "model").exists()
    assert not list((tmp_path / "run").glob("*.partial"))
    assert RunDirectory.open(tmp_path / "run").read_manifest()["status"] == "failed"


def test_lora(half_right: None, command: Command, recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    words = ["--max_steps", 1, "--peft.r", 2, "--peft.target_modules", "[q_proj]"]
    assert command("train", recipe, *words).status == 0
    assert (tmp_path / "run" / "model" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--learning_rat", "1"], "unknown key `learning_rat`. Did you mean `learning_rate`?"),
        (["--learning_rate", "fast"], "`learning_rate` is the text 'fast'; expected a number"),
        (["--max_steps", "2.5"], "`max_steps` is the number 2.5; expected a whole number"),
        (["--num_generations", "1"], "num_generations is 1"),
        (["--num_generations", "3"], "divisible"),
        (["--contrastive_grad_ratio", "-1"], "contrastive_grad_ratio is -1"),
        (["--lr_scheduler_type", "zigzag"], "zigzag"),
        (["--peft.rank", "4"], "unknown key `peft.rank`"),
        (["--problems.0.pth", "x"], "unknown key `pth`"),
        (["--model", "./no-model"], "no model directory at ./no-model"),
        (["--eval_strategy", "steps"], "but the recipe has no `eval_problems`"),
        (["--interference_layers", "[down_prj]"], "Did you mean `down_proj`?"),
        (["--evaluation.sample", "2"], "unknown key `evaluation.sample`"),
        (["stray"], "cannot read `stray`"),
        (["--max_steps"], "`--max_steps` has no value"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(
    command: Command, recipe: Path, tmp_path: Path, words: list[str], part: str
) -> None:
    answer = command("train", recipe, *words)
    assert answer.status == 2
    assert part in answer.err
    assert answer.err.startswith("mcpo-rl: error: ")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_one_domain_only_is_told(command: Command, recipe: Path, tmp_path: Path) -> None:
    rows = tmp_path / "math.jsonl"
    problems = [{"prompt": f"1 + {n} = ?", "reference": str(n + 1), "domain": "math"} for n in range(8)]
    rows.write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    answer = command("train", recipe, "--problems", f"[{{path: {rows}}}]", "--max_steps", 1)
    assert answer.status == 0
    assert "mcpo-rl: warning: All 8 training prompts are of one domain ('math')" in answer.err


def test_a_model_without_chat_template(command: Command, recipe: Path, model_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plain"
    shutil.copytree(model_path, copy)
    (copy / "chat_template.jinja").unlink()
    answer = command("train", recipe, "--model", copy)
    assert answer.status == 2
    assert "chat template" in answer.err


def test_vllm_that_is_not_installed(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_config.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"mcpo-rl\[vllm\]"):
        trainer_config.training_config(load_recipe(recipe, ["--use_vllm", "true"]), tmp_path)
    with pytest.raises(MissingDependencyError, match=r"mcpo-rl\[peft\]"):
        trainer_config.lora_config({"r": 4})


def test_bf16_is_off_where_it_cannot_be(recipe: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(recipe.read_text())
    del content["bf16"]
    recipe.write_text(yaml.safe_dump(content))
    config = trainer_config.training_config(load_recipe(recipe, ["--use_cpu", "false"]), tmp_path)
    assert config.bf16 is (torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def test_grpo_turns_any_coefficient_off(recipe: Path, tmp_path: Path) -> None:
    config = trainer_config.training_config(
        load_recipe(recipe, ["--method", "grpo", "--contrastive_coef", "0.1"]), tmp_path
    )
    assert config.contrastive_coef == 0


def test_what_several_processes_trained_is_evaluated_by_one(
    half_right: None, command: Command, recipe: Path, problems_file: Path, tmp_path: Path
) -> None:
    words = ["--max_steps", 1, "--eval_problems", f"[{{path: {problems_file}, limit: 3}}]"]
    whole = ["--evaluation.before", "true"]
    assert command("train", recipe, *words, *whole, "--quiet").status == 0
    run = RunDirectory.open(tmp_path / "run")
    files = (run.start_eval_file, run.eval_file)
    scores = [json.loads(file.read_text())["scores"] for file in files]
    before, trained = weights(run.path), run.read_manifest()["step"]
    for file in files:  # several processes leave neither
        file.unlink()
    answer = command("train", recipe, *words, *whole, "--resume", "--quiet")
    assert answer.status == 0 and "95% interval" in answer.out, answer.err
    assert [json.loads(file.read_text())["scores"] for file in files] == scores
    assert all(torch.equal(tensor, weights(run.path)[name]) for name, tensor in before.items())
    assert run.read_manifest()["status"] == "finished" and run.read_manifest()["step"] == trained
    again = command("train", recipe, *words, "--resume", "--learning_rate", 0.5)
    assert again.status == 2


def test_a_lora_on_a_lora_is_refused(half_right: None, command: Command, recipe: Path, tmp_path: Path) -> None:
    lora = ["--peft.r", 2, "--peft.target_modules", "all-linear", "--max_steps", 1, "--method", "grpo", "--quiet"]
    assert command("train", recipe, *lora).status == 0
    second = ["--model", tmp_path / "run" / "model", "--output_dir", tmp_path / "second"]
    answer = command("train", recipe, *lora, *second)
    assert answer.status == 2 and "which is a LoRA itself" in answer.err
    assert not (tmp_path / "second").exists()
