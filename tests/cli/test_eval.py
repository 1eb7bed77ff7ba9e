"""`mcpo-rl eval`: from a model and problems to numbers, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.cli.eval import model_path as run_or_model
from mcpo_rl.cli.eval import problem_sources
from mcpo_rl.errors import ConfigError, RunError

Command = Callable[..., Any]


def test_a_file(command: Command, model_path: Path, problems_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "eval.json"
    words = ["--model", model_path, "--problems", problems_file, "--k", 2, "--max-new-tokens", 4, "--output", output]
    answer = command("eval", *words)
    assert answer.status == 0, answer.err
    result = json.loads(output.read_text())
    assert {name: domain["problems"] for name, domain in result["domains"].items()} == {"logic": 6, "math": 6}
    assert result["settings"]["samples"] == 2
    for part in ("math", "logic", "mean of domains", "95% interval"):
        assert part in answer.out
    assert "evaluate 24/24 completions" in answer.err


def test_limit(command: Command, model_path: Path, problems_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "eval.json"
    words = [
        "--model",
        model_path,
        "--problems",
        problems_file,
        "--limit",
        2,
        "--max-new-tokens",
        2,
        "--output",
        output,
    ]
    assert command("eval", *words).status == 0
    assert json.loads(output.read_text())["micro"]["problems"] == 2


def test_procedural_problems(command: Command, model_path: Path, tmp_path: Path) -> None:
    output = tmp_path / "eval.json"
    words = ["--problems", "procedural:math,logic", "--limit", 2, "--max-new-tokens", 2, "--output", output]
    assert command("eval", "--model", model_path, *words).status == 0
    assert {name: d["problems"] for name, d in json.loads(output.read_text())["domains"].items()} == {
        "logic": 2,
        "math": 2,
    }


def test_what_problems_stands_for(tmp_path: Path) -> None:
    assert problem_sources("procedural:math, code", domain=None, limit=5, level=2) == [
        {"source": "procedural", "split": "heldout", "count": 5, "level": 2, "seed": 0, "domain": name}
        for name in ("math", "code")
    ]
    file = tmp_path / "rows.jsonl"
    file.touch()
    assert problem_sources(str(file), domain="math", limit=None, level=1) == [{"path": str(file), "domain": "math"}]
    (tmp_path / "built" / ".build").mkdir(parents=True)
    built = str(tmp_path / "built")
    assert problem_sources(built, domain=None, limit=None, level=1) == [{"path": built, "split": "heldout"}]
    assert problem_sources(str(tmp_path), domain=None, limit=None, level=1) == [{"path": str(tmp_path)}]
    assert problem_sources("hub:openai/gsm8k:test", domain="math", limit=None, level=1) == [
        {"hub": "openai/gsm8k", "split": "test", "domain": "math"}
    ]
    with pytest.raises(ConfigError, match="name the dataset and its split"):
        problem_sources("hub:openai/gsm8k", domain=None, limit=None, level=1)
    with pytest.raises(ConfigError, match="names no domain"):
        problem_sources("procedural:", domain=None, limit=None, level=1)
    with pytest.raises(ConfigError, match="there is no file"):
        problem_sources(str(tmp_path / "none.jsonl"), domain=None, limit=None, level=1)


def test_a_run_directory_stands_for_its_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match="has no `model` yet"):
        run_or_model(str(run))
    (run / "model").mkdir()
    assert run_or_model(str(run)) == str(run / "model")
    assert run_or_model("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"
    assert run_or_model("builtin:tiny") == "builtin:tiny"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--problems", "none.jsonl"], "there is no file none.jsonl"),
        (["--problems", "procedural:maths"], "Did you mean `math`?"),
        (["--problems", "procedural:math", "--k", "0"], "--k is 0; it must be at least 1"),
        (["--problems", "procedural:math", "--temperature", "-1"], "--temperature must be at least 0 (0 is greedy decoding), not -1.0"),
        (["--problems", "procedural:math", "--output", "nowhere/eval.json"], "the directory nowhere does not exist"),
    ],
)
def test_mistakes(command: Command, model_path: Path, words: list[str], part: str) -> None:
    answer = command("eval", "--model", model_path, *words)
    assert answer.status == 2
    assert part in answer.err
    assert answer.err.count("\n") == 1
