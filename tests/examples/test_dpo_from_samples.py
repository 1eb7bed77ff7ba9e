"""The offline example: its pairs, and a run from samples to a step of DPO with the contrastive term."""

import importlib.util
from pathlib import Path

import pytest

from mcpo_rl.types import Problem, Status

EXAMPLE = Path(__file__).parents[2] / "examples" / "dpo_from_samples.py"
RIGHT, WRONG, ERROR = Status.CORRECT, Status.INCORRECT, Status.ERROR


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("dpo_from_samples", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pair_is_a_right_and_a_wrong_answer_to_one_problem(example):
    problems = [
        Problem(domain=domain, prompt=[{"role": "user", "content": domain}], reference="1")
        for domain in ("math", "code", "logic")
    ]
    answers = [(0, "a", RIGHT), (0, "b", WRONG), (0, "b", WRONG), (0, "c", RIGHT), (0, "d", WRONG), (0, "e", ERROR)]
    answers += [(1, "f", RIGHT), (1, "g", RIGHT), (2, "h", WRONG), (2, "i", ERROR)]
    rows = example.preference_rows(problems, answers)
    said = [(row["domain"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows]
    assert said == [("math", "a", "b"), ("math", "c", "d")]
    assert rows[0]["prompt"] == problems[0].prompt


def test_it_runs(example, tmp_path, capsys):
    example.main(["--problems", "3", "--samples", "4", "--steps", "1", "--output-dir", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "pairs from 36 answers to 9 problems" in out and not out.startswith("0 pairs")
    assert "contrastive/loss" in out
    assert (tmp_path / "run" / "checkpoint-1" / "mcpo_state.pt").is_file()
