"""`mcpo-rl compare` and `mcpo-rl merge` end to end on a tiny model; the runs are commands in this process."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mcpo_rl.cli import main, training
from mcpo_rl.comparison import processes, running
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.runs import RunDirectory, directory

Command = Callable[..., Any]


class HereAndNow:
    """Runs a task as it is started, in this process; `asked` keeps the command lines, `break_at` raises Ctrl-C."""

    asked: list[list[str]]
    interrupt_at: str | None

    def __init__(self, plan: Plan, **options: Any) -> None:
        self.plan = plan

    def __call__(self, task: Task, place: int, evaluate: bool) -> HereAndNow:
        words = self.plan.words(task)
        self.asked.append(words)
        self.plan.log(task).parent.mkdir(parents=True, exist_ok=True)
        self.status = 130 if task.name == self.interrupt_at else main(words)
        return self

    def poll(self) -> int:
        return self.status

    def interrupt(self) -> None: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> type[HereAndNow]:
    HereAndNow.asked, HereAndNow.interrupt_at = [], None
    monkeypatch.setattr(processes, "Processes", HereAndNow)
    monkeypatch.setattr(running, "POLL_S", 0.0)
    # What is installed, and the commit, take a while to find out and play no part.
    monkeypatch.setattr(directory, "starting_facts", lambda: {"status": "running"})

    def parity_reward(completions: list[Any], **kwargs: Any) -> list[float]:
        return [float(sum(map(ord, completion[0]["content"])) % 2) for completion in completions]

    monkeypatch.setattr(training, "verifier_reward", parity_reward)
    return HereAndNow


@pytest.fixture
def short(recipe: Path, problems_file: Path) -> Path:
    content = yaml.safe_load(recipe.read_text())
    content |= {
        "max_steps": 2,
        "mixture": "equal",
        "eval_problems": [{"path": str(problems_file)}],
        "evaluation": {"samples": 1},
        "log_rollouts_steps": 0,
    }
    recipe.write_text(yaml.safe_dump(content))
    return recipe


def test_a_comparison_from_beginning_to_end(
    command: Command, here: type[HereAndNow], short: Path, tmp_path: Path
) -> None:
    out = tmp_path / "compared"
    answer = command("compare", short, "--methods", "mcpo,merge,sequential", "--seeds", "1", "--output", out)
    assert answer.status == 0, answer.err
    assert f"methods mcpo, single, sequential, merge; seeds 1; 6 runs in {out}" in answer.out
    facts = json.loads((out / "comparison.json").read_text())
    assert facts["complete"] and facts["methods"] == ["mcpo", "single", "sequential", "merge"]
    assert facts["domains"] == ["logic", "math"]
    rows = {row["method"]: row for row in facts["rows"]}
    assert {name: row["cost"]["rollouts"] for name, row in rows.items()} == dict.fromkeys(rows, 2 * 16.0)
    assert [row["cost"]["steps"] for row in rows.values()] == [2, 4, 2, 4]
    assert rows["mcpo"]["cost"]["tokens"] > 0 and rows["mcpo"]["cost"]["seconds"] > 0
    assert "| MCPO |" in (out / "comparison.md").read_text()
    assert r"\toprule" in (out / "comparison.tex").read_text()
    assert f"report:  mcpo-rl report {out}" in answer.out
    for line in ("mcpo/seed_1: begins", "merge/seed_1: logic 0.000, math 0.000"):
        assert line in answer.err

    # Every run starts where it says, and a specialist is trained on its own domain's problems alone.
    base = load_file(Path(yaml.safe_load(short.read_text())["model"]) / "model.safetensors")
    single = {d: load_file(out / f"runs/single/seed_1/{d}/model/model.safetensors") for d in ("math", "logic")}
    merged = load_file(out / "runs/merge/seed_1/model/model.safetensors")
    for name, origin in base.items():
        deltas = [single[domain][name] - origin for domain in ("math", "logic")]
        assert torch.allclose(merged[name], origin + sum(deltas) / 2, atol=1e-6)
    assert any(not torch.equal(single["math"][name], origin) for name, origin in base.items()), "nothing was trained"
    manifest = RunDirectory.open(out / "runs/single/seed_1/math").read_manifest()
    assert manifest["data"]["train"]["domains"] == {"math": 6}
    assert manifest["data"]["heldout"]["domains"] == {"logic": 6, "math": 6}
    second = RunDirectory.open(out / "runs/sequential/seed_1/logic").read_config()
    assert second["model"] == str(out / "runs/sequential/seed_1/math/model")
    starts = [path.relative_to(out / "runs").parts for path in out.rglob("eval_start.json")]
    assert len(starts) == 6

    # A second time nothing runs, and the tables are the same.
    asked, tables = len(here.asked), (out / "comparison.md").read_text()
    assert command("compare", out, "--quiet").status == 0
    assert len(here.asked) == asked and (out / "comparison.md").read_text() == tables


def test_stopped_gone_on_and_grown(command: Command, here: type[HereAndNow], short: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    words = ["compare", short, "--methods", "grpo,mcpo", "--seeds", "0", "--output", out, "--max_steps", 1]
    here.interrupt_at = "mcpo/seed_0"
    answer = command(*words)
    assert answer.status == 130
    assert f"go on with:\n  mcpo-rl compare {out}" in answer.err
    assert "MCPO, seed 0, is missing: mcpo/seed_0 not started." in answer.out
    again = command(*words)
    assert again.status == 2 and "already holds a comparison. Go on with it with --resume" in again.err
    here.interrupt_at = None
    here.asked.clear()
    planned = command("compare", out, "--plan")
    assert [line.split("/recipes/")[1] for line in planned.out.splitlines() if "/recipes/" in line] == [
        "mcpo/seed_0.yaml --resume --quiet"
    ]
    assert "1 of 2 are finished" in planned.out and "written:" in planned.out and not here.asked
    assert command(*words, "--resume", "--methods", "pcgrad", "--quiet").status == 0
    assert [shlex.join(words).split("/recipes/")[1].split()[0] for words in here.asked] == [
        "mcpo/seed_0.yaml",
        "pcgrad/seed_0.yaml",
    ]
    assert json.loads((out / "comparison.json").read_text())["methods"] == ["grpo", "mcpo", "pcgrad"]
    refused = command(*words, "--resume", "--learning_rate", 0.5)
    assert refused.status == 2 and "`recipe.learning_rate` was 0.01, now 0.5" in refused.err


def test_variants_and_seeds_of_their_own(command: Command, here: type[HereAndNow], short: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "compared", tmp_path / "mine.yaml"
    mine.write_text(
        "weak: {label: 'MCPO, weak', contrastive_grad_ratio: 0.01}\nslow: {base: grpo, learning_rate: 1e-5}\n"
    )
    words = ["compare", short, "--methods", "grpo,weak", "--seeds", "0-1", "--output", out, "--max_steps", 1]
    assert command(*words, "--variants", mine, "--target", "0.5").status == 0
    facts = json.loads((out / "comparison.json").read_text())
    assert [row["label"] for row in facts["rows"]] == ["GRPO", "MCPO, weak"] and facts["complete"]
    assert facts["targets"]["mean"] == 0.5 and set(facts["rows"][1]["auc"]["domains"]) == {"logic", "math"}
    assert RunDirectory.open(out / "runs/weak/seed_1").read_config()["contrastive_grad_ratio"] == 0.01
    here.asked.clear()
    grown = command("compare", out, "--methods", "slow", "--seeds", "1")
    assert grown.status == 0 and len(here.asked) == 1 and "slow                   1 step x" in grown.out
    assert "MCPO, weak minus GRPO" in grown.out and "seeds 0, 1 (slow 1); every" in grown.out
    assert command("compare", out, "--quiet").status == 0 and len(here.asked) == 1, "nothing is left to run"
    mine.write_text("late: {feature_layr: 1}\n")
    late = command("compare", out, "--variants", mine, "--seeds", "1")
    assert late.status == 2 and "variant `late`: unknown key" in late.err, "also where it has not the first seed"
    mine.write_text("weak: {contrastive_grad_ratio: 0.02}\n")
    other = command("compare", out, "--variants", mine)
    assert other.status == 2 and "`variants.weak.contrastive_grad_ratio` was 0.01, now 0.02" in other.err


def test_a_variant_is_checked_before_anything_starts(
    command: Command, here: type[HereAndNow], short: Path, tmp_path: Path
) -> None:
    out, mine = tmp_path / "compared", tmp_path / "mine.yaml"
    for content, told in [
        ("x: {feature_layr: 1}", "variant `x`: unknown key `feature_layr`. Did you mean `feature_layer`?"),
        ("x: {learning_rate: fast}", "variant `x`: `learning_rate` is the text 'fast'"),
        ("x: {dtype: float8}", "variant `x`: `dtype` is the text 'float8'"),
        ("x: {num_positives: 0}", "variant `x`: num_positives is 0"),
        ("x: {max_steps: 9}", "mine.yaml: variant `x` sets `max_steps`: it would change the budget"),
    ]:
        mine.write_text(content)
        answer = command("compare", short, "--variants", mine, "--output", out)
        assert answer.status == 2 and told in answer.err and len(answer.err.strip().splitlines()) == 1
        assert not here.asked and not out.exists()
    mine.write_text("x: {feature_layer: 1}")
    planned = command("compare", short, "--variants", mine, "--output", out, "--plan")
    assert "methods grpo, mcpo, single, x; seeds 0, 1, 2;" in planned.out, "the default methods and all variants"


def test_a_run_that_fails_is_named(
    command: Command, here: type[HereAndNow], short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HereAndNow, "__call__", _failing)
    answer = command("compare", short, "--methods", "grpo", "--seeds", "0", "--output", tmp_path / "c", "--quiet")
    assert answer.status == 1 and answer.out == ""
    assert "mcpo-rl: error: grpo/seed_0: CUDA out of memory (exit status 1; see " in answer.err


def _failing(self: HereAndNow, task: Task, place: int, evaluate: bool) -> HereAndNow:
    log = self.plan.log(task)
    log.parent.mkdir(parents=True)
    log.write_text("CUDA out of memory\n")
    self.status = 1
    return self


def test_the_plan_alone(command: Command, here: type[HereAndNow], short: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    answer = command("compare", "--methods", "single", "--plan", short, "--seeds=0,1", "--output", out, "--max-steps=2")
    assert answer.status == 0 and not here.asked and not (out / "runs").exists()
    lines = [line for line in answer.out.splitlines() if line.startswith("mcpo-rl train ")]
    assert [shlex.split(line)[2] for line in lines] == [
        str(out / f"recipes/single/seed_{seed}/{domain}.yaml") for seed in (0, 1) for domain in ("math", "logic")
    ]
    assert "math 2 steps x 8 rollouts, logic 2 steps x 8 rollouts per seed" in answer.out
    assert not (out / "comparison.json").exists(), "there is nothing to show yet"
    launched = command("compare", out, "--plan", "--launch", "torchrun --nproc_per_node 2")
    assert launched.out.count("torchrun --nproc_per_node 2 -m mcpo_rl train ") == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--methods", "grop"], "there is no method `grop`"),
        (["--seeds", "a"], "--seeds a: expected whole numbers"),
        (["--seeds", "4-1"], "--seeds 4-1: expected whole numbers and ranges"),
        (["--target", "1.5"], "--target is 1.5; it is an accuracy"),
        (["--window", "0"], "--window is 0; it must be at least 1"),
        (["--variants", "none.yaml"], "--variants none.yaml: cannot be read"),
        (["--seed", "3"], "`--seed` cannot be set in a comparison: name the seeds with --seeds"),
        (["--output_dir", "x"], "`--output_dir` cannot be set in a comparison: say where"),
        (["--method=grpo"], "`--method` cannot be set in a comparison: name the methods with --methods"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--methods"], "argument --methods: expected one argument"),
        (["--jobs", "many"], "argument --jobs: invalid int value: 'many'"),
        (["--budget", "free"], "argument --budget: invalid choice: 'free'"),
        (["--against", "merge"], "--against merge: the comparison has grpo, mcpo, single"),
        (["--max_stepz", "3"], "unknown key `max_stepz`"),
        (["--max_steps", "-1"], "`max_steps` is -1"),
        (["--eval_problems", "[]"], "`eval_problems` is empty"),
        (["--num_positives", "0"], "num_positives"),
        (["--output", "OCCUPIED"], "is not empty and holds no comparison"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    command: Command, here: type[HereAndNow], short: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "notes.txt").write_text("mine")
    words = [str(tmp_path / "occupied") if word == "OCCUPIED" else word for word in words]
    answer = command("compare", short, *words)
    assert answer.status == 2 and not answer.out
    assert told in answer.err and len(answer.err.strip().splitlines()) == 1
    assert not here.asked and not list(tmp_path.rglob("comparison.yaml"))


def test_directories_that_are_none(command: Command, tmp_path: Path, short: Path) -> None:
    assert "is a directory without comparison.yaml; give a recipe" in command("compare", tmp_path).err
    assert "recipe not found" in command("compare", tmp_path / "nothing.yaml").err
    assert command("compare", short, "--help").status == 0


def test_the_command_of_a_run_is_this_installation(tmp_path: Path) -> None:
    command = [*processes.PYTHON, "train", str(tmp_path / "none.yaml")]
    child = processes.ChildProcess(command, tmp_path / "log", {"PATH": "", "HOME": str(tmp_path)})
    assert child._process.wait(timeout=120) == 2
    assert (tmp_path / "log").read_text().startswith("mcpo-rl: error: recipe not found")


@pytest.mark.slow
def test_with_processes_stopped_by_ctrl_c_and_gone_on(short: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    words = ["compare", str(short), "--methods", "grpo,mcpo", "--seeds", "0", "--output", str(out), "--jobs", "2"]
    words += ["--max_steps", "400"]
    parent = subprocess.Popen([*processes.PYTHON, *words], stderr=subprocess.PIPE, text=True)
    metrics = [out / "runs" / method / "seed_0" / "metrics.jsonl" for method in ("grpo", "mcpo")]
    while not all(file.is_file() and file.stat().st_size for file in metrics):
        assert parent.poll() is None
        time.sleep(0.2)
    parent.send_signal(signal.SIGINT)
    said = parent.communicate(timeout=300)[1]
    assert parent.returncode == 130 and f"mcpo-rl compare {out}" in said
    steps = []
    for method in ("grpo", "mcpo"):
        run = RunDirectory.open(out / "runs" / method / "seed_0")
        assert run.read_manifest()["status"] == "interrupted"
        steps.append(run.read_manifest()["step"])
        assert (run.checkpoints / f"checkpoint-{steps[-1]}").is_dir()
    assert (
        subprocess.run([*processes.PYTHON, "compare", str(out), "--quiet", "--jobs", "2"], check=False).returncode == 0
    )
    facts = json.loads((out / "comparison.json").read_text())
    assert facts["complete"] and {row["cost"]["steps"] for row in facts["rows"]} == {400}
    for method, step in zip(("grpo", "mcpo"), steps, strict=True):
        resumed = RunDirectory.open(out / "runs" / method / "seed_0").read_manifest()["resumed"]
        assert [attempt["step"] for attempt in resumed] == [step]
