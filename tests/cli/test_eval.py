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


class TestOutput:
    """The same command again, after it ended and after it was stopped."""

    def words(self, model_path: Path, problems_file: Path, output: Path, *more: Any) -> list[Any]:
        fixed = ["--model", model_path, "--problems", problems_file, "--k", 2, "--max-new-tokens", 4]
        return ["eval", *fixed, "--batch-size", 6, "--output", output, *more]

    def test_is_not_made_twice(self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path) -> None:
        words = self.words(model_path, problems_file, tmp_path / "eval.json")
        first = command(*words)
        before = (tmp_path / "eval.json").read_bytes()
        again = command(*words)
        assert first.status == again.status == 0
        assert "already evaluated" in again.out and "completions" not in again.err
        assert again.out.splitlines()[:5] == first.out.splitlines()[:5], "the same table"
        assert (tmp_path / "eval.json").read_bytes() == before
        assert command(*words, "--restart").out == first.out
        assert (tmp_path / "eval.json").read_bytes() != before, "made anew: another time of making"

    def test_another_evaluation_is_not_overwritten(
        self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "eval.json"
        assert command(*self.words(model_path, problems_file, output)).status == 0
        before = output.read_bytes()
        other = command(*self.words(model_path, problems_file, output, "--temperature", "0.5"))
        assert other.status == 2 and "`temperature` was 1.0, now 0.5" in other.err and "--restart" in other.err
        fewer = command(*self.words(model_path, problems_file, output, "--limit", "3"))
        assert fewer.status == 2 and "other problems (12; now 3)" in fewer.err
        assert output.read_bytes() == before

    def test_stopped_and_gone_on(
        self,
        command: Command,
        model_path: Path,
        problems_file: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from mcpo_rl.evaluation import read_completions
        from mcpo_rl.evaluation.generation import TransformersGenerator

        whole = tmp_path / "whole.json"
        assert command(*self.words(model_path, problems_file, whole)).status == 0
        output, asked = tmp_path / "eval.json", []
        complete = TransformersGenerator._complete

        def stopping(self: TransformersGenerator, encoded: Any, *more: Any) -> Any:
            asked.append(len(encoded))
            if len(asked) == 3:
                raise KeyboardInterrupt
            return complete(self, encoded, *more)

        monkeypatch.setattr(TransformersGenerator, "_complete", stopping)
        stopped = command(*self.words(model_path, problems_file, output))
        assert stopped.status == 130 and f"goes on from {tmp_path / 'eval.partial.jsonl'}" in stopped.err
        assert not output.exists()
        refused = command(*self.words(model_path, problems_file, output, "--seed", "1"))
        assert refused.status == 2 and "`seed` was 0, now 1" in refused.err
        asked.append(0)  # beyond the third
        assert command(*self.words(model_path, problems_file, output)).status == 0
        assert sum(asked) - 6 == 24, "the two batches that were there are not generated again"
        assert read_completions(output) == read_completions(whole)
        assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl") == [
            "eval.completions.parquet",
            "eval.json",
            "whole.completions.parquet",
            "whole.json",
        ]
        assert not (tmp_path / "eval.partial.jsonl").exists()


class TestComparing:
    def test_two_evaluations(self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path) -> None:
        first, second, found = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"
        words = ["eval", "--model", model_path, "--problems", problems_file, "--max-new-tokens", 4]
        assert command(*words, "--output", first).status == 0
        answer = command(*words, "--seed", 1, "--output", second, "--against", first, "--comparison", found)
        assert answer.status == 0
        assert f"{model_path} minus {model_path}, problem by problem" in answer.out
        assert "difference      95% interval" in answer.out and "better  worse" in answer.out
        assert set(json.loads(found.read_text())["domains"]) == {"logic", "math"}
        read = command("eval", "--read", second, "--against", first)
        shown = [line for line in answer.out.splitlines() if not line.startswith("written")]
        assert read.status == 0 and read.out.splitlines() == shown

    def test_other_problems_are_refused(
        self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path
    ) -> None:
        words = ["eval", "--model", model_path, "--problems", problems_file, "--max-new-tokens", 2]
        assert command(*words, "--output", tmp_path / "a.json").status == 0
        assert command(*words, "--limit", 3, "--output", tmp_path / "b.json").status == 0
        answer = command("eval", "--read", tmp_path / "a.json", "--against", tmp_path / "b.json")
        assert answer.status == 2
        assert "made on different problems: 3 in common, 0 only in the first, 9 (such as" in answer.err

    def test_other_problems_are_refused_before_a_model_answers_them(
        self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path
    ) -> None:
        words = ["eval", "--model", model_path, "--problems", problems_file, "--max-new-tokens", 2]
        assert command(*words, "--limit", 3, "--output", tmp_path / "a.json").status == 0
        answer = command(*words, "--output", tmp_path / "b.json", "--against", tmp_path / "a.json")
        assert answer.status == 2 and answer.out == "" and "completions" not in answer.err
        assert "made on different problems: 3 in common, 0 only in the first, 9 (such as" in answer.err

    def test_a_run_stands_for_its_evaluation(
        self, command: Command, model_path: Path, problems_file: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        run.mkdir()
        assert command("eval", "--read", run).err.count("has no eval.json") == 1
        words = ["eval", "--model", model_path, "--problems", problems_file, "--max-new-tokens", 2]
        assert command(*words, "--output", run / "eval.json").status == 0
        assert command("eval", "--read", run, "--against", run).status == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--k", "4"], "--model is missing"),
        (["--model", "builtin:tiny"], "--problems is missing"),
        (["--read", "a.json", "--model", "m"], "without --model"),
        (["--read", "none.json"], "There is no evaluation none.json"),
        (["--read", "none.json", "--comparison", "c.json"], "give --against"),
        (["--model", "m", "--problems", "procedural:math", "--restart"], "give --output"),
    ],
)
def test_what_to_do_is_said(command: Command, words: list[str], part: str) -> None:
    answer = command("eval", *words)
    assert (answer.status, answer.out) == (2, "") and part in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--problems", "procedural:math", "--top-p", "0"], "--top-p must be above 0"),
        (["--problems", "procedural:math", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["--problems", "procedural:math", "--k", "2", "--temperature", "0"], "--k is 2, but at --temperature 0"),
        (["--problems", "procedural:math", "--chat-template-kwargs", "x"], "expected a mapping"),
        (["--problems", "procedural:math", "--device", "cuda:77"], "there is no device cuda:77"),
        (["--problems", "procedural:math", "--base-model", "m"], "is no LoRA"),
        (["--problems", "procedural:math", "--output", "."], "name a file in it"),
        (["--problems", "none.jsonl"], "there is no file none.jsonl"),
        (["--problems", "procedural:maths"], "Did you mean `math`?"),
        (["--problems", "procedural:math", "--k", "0"], "--k is 0; it must be at least 1"),
        (
            ["--problems", "procedural:math", "--temperature", "-1"],
            "--temperature must be at least 0 (0 is greedy decoding), not -1.0",
        ),
        (["--problems", "procedural:math", "--output", "nowhere/eval.json"], "the directory nowhere does not exist"),
    ],
)
def test_mistakes(command: Command, model_path: Path, words: list[str], part: str) -> None:
    answer = command("eval", "--model", model_path, *words)
    assert answer.status == 2
    assert part in answer.err
    assert answer.err.count("\n") == 1
