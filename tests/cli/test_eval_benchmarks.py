"""`mcpo-rl eval --benchmarks` and `--export`: from names to files, and what is refused."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.cli.eval_benchmarks import benchmark_list, drawing
from mcpo_rl.errors import ConfigError
from mcpo_rl.evaluation.benchmarks import BENCHMARKS, get_benchmark
from mcpo_rl.evaluation.benchmarks.summary import benchmark_means, benchmark_table, summary_json
from mcpo_rl.scores import EvaluationRecord, ProblemScore

Command = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with short copies of two benchmarks."""
    folder = tmp_path / "data"
    for name, rows in {
        "gsm8k": [{"question": f"{n} + 1 = ?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(3)],
        "aime25": [{"problem": f"Find {n}.", "answer": str(n), "id": str(n)} for n in range(2)],
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def options(**given: Any) -> argparse.Namespace:
    unset = dict.fromkeys(("k", "temperature", "top_p", "top_k", "min_p", "max_new_tokens"))
    return argparse.Namespace(**{"protocol": "guru", "seed": 1, **unset, **given})


def test_several_benchmarks_then_again_and_against(
    command: Command, model_path: Path, data: Path, tmp_path: Path
) -> None:
    words = ["--model", model_path, "--benchmarks", "gsm8k,aime25", "--benchmark-data", data, "--k", 2]
    words += ["--max-new-tokens", 4, "--output", tmp_path / "out"]
    answer = command("eval", *words)
    assert answer.status == 0, answer.err
    assert "GSM8K, test: 3 problems, avg@2, temperature 1, top-p 0.7, up to 4 tokens" in answer.out
    assert "mean of 2 in math" in answer.out and "gsm8k 6/6 completions" in answer.err
    assert "aime25: 2 problems were read where its papers count 30" in answer.err
    record = EvaluationRecord.read(tmp_path / "out" / "gsm8k.json")
    assert (record.settings["top_p"], record.settings["samples"]) == (0.7, 2)
    assert record.facts["benchmark"] == "gsm8k" and record.facts["protocol"] == "guru"
    summary = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    assert {name: one["metric"] for name, one in summary["benchmarks"].items()} == {"gsm8k": "avg@2", "aime25": "avg@2"}
    again = command("eval", *words, "--against", tmp_path / "out", "--export", "lm-eval", tmp_path / "harness")
    assert again.status == 0, again.err
    assert again.out.count("already evaluated") == 2 and again.out.count("problem by problem") == 2
    assert again.out.count("written for lm-eval") == 2
    assert len(list((tmp_path / "harness").rglob("samples_*.jsonl"))) == 2
    # What cannot be compared is found out before a model answers.
    for more, part in (([tmp_path], "has none of gsm8k.json, aime25.json"), ([tmp_path / "out", "--limit", 1], "1 in")):
        refused = command("eval", *words[:-2], "--against", *more)
        assert refused.status == 2 and "completions" not in refused.err and part in refused.err


def test_the_list_needs_no_model(command: Command) -> None:
    answer = command("eval", "--benchmarks", "list")
    assert answer.status == 0
    for name in BENCHMARKS:
        assert f"\n{name} " in answer.out
    assert "avg@32" in answer.out and "--protocol r1:" in answer.out
    assert "avg@64" in benchmark_list("r1") and "avg@" not in benchmark_list("greedy")


def test_the_command_line_replaces_a_protocols_values() -> None:
    aime = get_benchmark("aime24")
    samples, sampling = drawing(aime, options())
    assert (samples, sampling.temperature, sampling.top_p, sampling.max_new_tokens, sampling.seed) == (
        *(32, 1.0, 0.7, 28672),
        1,
    )
    samples, sampling = drawing(aime, options(k=8, top_p=1.0, top_k=20, max_new_tokens=16384))
    assert (samples, sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_new_tokens) == (
        *(8, 1.0, 1.0, 20),
        16384,
    )
    with pytest.raises(ConfigError, match="4 completions at temperature 0 are all the same"):
        drawing(aime, options(protocol="greedy", k=4))
    with pytest.raises(ConfigError, match="--k is 0"):
        drawing(aime, options(k=0))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--benchmarks", "gsm8"], "Did you mean `gsm8k`?"),
        (["--benchmarks", "gsm8k", "--problems", "x.jsonl"], "give it without --problems"),
        (["--benchmarks", "gsm8k", "--output", "x.json"], "with --benchmarks give a directory, such as x"),
        (["--benchmarks", "gsm8k", "--benchmark-data", "nowhere"], "there is no folder nowhere"),
        (["--benchmarks", "gsm8k", "--domain", "math"], "a benchmark has its own"),
        (["--benchmarks", "gsm8k", "--restart"], "give --output DIR too"),
        (["--benchmarks", "gsm8k", "--export", "lm-eval", "x"], "--export needs the completions on disk"),
        (["--read", "none.json", "--export", "lm_eval", "x"], "expected lm-eval or lighteval"),
    ],
)
def test_mistakes(command: Command, model_path: Path, words: list[str], part: str) -> None:
    answer = command("eval", *([] if "--read" in words else ["--model", model_path]), *words)
    assert answer.status == 2
    assert part in answer.err and answer.err.count("\n") == 1


def test_means_of_benchmarks_by_hand() -> None:
    def record(domain: str, correct: list[int], samples: int, dropped: int = 0) -> EvaluationRecord:
        scores = [
            ProblemScore(key=f"{domain}{n}", domain=domain, samples=samples, correct=c) for n, c in enumerate(correct)
        ]
        facts = {"dropped": {"no answer": dropped}}
        return EvaluationRecord(model="m", settings={"samples": samples}, scores=scores, facts=facts)

    records = {
        "a": record("math", [1, 0, 0, 0], 1, dropped=3),  # 0.25
        "b": record("math", [4, 2], 4),  # 0.75
        "c": record("code", [1, 1, 0], 1),  # 2/3
    }
    means = benchmark_means(records)
    assert {name: mean.value for name, mean in means.items()} == pytest.approx(
        {"code": 2 / 3, "math": 0.5, "all": (0.25 + 0.75 + 2 / 3) / 3}
    )
    lines = benchmark_table(records).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "benchmark",
        "a",
        "b",
        "c",
        "mean of 2 in math",
        "mean of all 3",
    ]
    assert lines[1].endswith(" 3") and "avg@4" in lines[2] and "0.750" in lines[2] and "pass@1" in lines[3]
    found = summary_json(records)
    assert found["benchmarks"]["a"]["left_out"] == 3 and found["means"]["math"]["value"] == 0.5
