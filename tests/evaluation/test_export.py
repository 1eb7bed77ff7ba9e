"""Evaluations in the files of lm-eval and lighteval: their names and keys, numbers by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mcpo_rl.errors import ConfigError, RunError
from mcpo_rl.evaluation import EvaluatedCompletion, EvaluationResult
from mcpo_rl.evaluation.export import export_evaluation, task_scores
from mcpo_rl.scores import ProblemScore
from mcpo_rl.types import Problem, Status, Verdict

VERDICTS = ((True, False), (True, True), (False, None))
"""Three problems of two completions: right, wrong, or one that the verifier failed on."""


def verdict(right: bool | None) -> Verdict:
    if right is None:
        return Verdict(status=Status.ERROR, reward=None)
    return Verdict(status=Status.CORRECT if right else Status.INCORRECT, reward=float(right), answer="7")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    problems = [
        Problem(
            domain=domain,
            prompt=[{"role": "user", "content": f"<script>{number}</script>?"}],
            reference={"kind": "word", "answer": "ja"} if domain == "logic" else str(number),
            id=f"id{number}",
            source=source,
        )
        for number, (domain, source) in enumerate([("math", "gsm8k"), ("math", "gsm8k"), ("logic", "kk/2ppl")])
    ]
    scores = [
        ProblemScore(
            key=str(number),
            domain=problem.domain,
            source=problem.source,
            id=problem.id,
            samples=2,
            correct=own.count(True),
            errors=own.count(None),
        )
        for number, (problem, own) in enumerate(zip(problems, VERDICTS, strict=True))
    ]
    completions = [
        EvaluatedCompletion(
            problem=number,
            sample=sample,
            text=f"{number}.{sample} \ud800",
            verdict=verdict(right),
            tokens=3,
            truncated=False,
        )
        for number, own in enumerate(VERDICTS)
        for sample, right in enumerate(own)
    ]
    result = EvaluationResult(
        model="../runs/Qwen/x",
        settings={"samples": 2, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 64, "seed": 0},
        facts={"created": "2026-11-22T17:09:26+00:00", "seconds": 2.5},
        scores=scores,
        problems=problems,
        completions=completions,
    )
    return result.save(tmp_path / "eval.json")


def test_numbers_by_hand() -> None:
    scores = [
        ProblemScore(key="a", domain="math", samples=4, correct=1),
        ProblemScore(key="b", domain="math", samples=4, correct=4),
        ProblemScore(key="c", domain="math", samples=4, correct=1, errors=2),
    ]
    # Shares 1/4, 1, 1/2: mean 7/12, squared deviations 1/9 + 25/144 + 1/144 = 7/24, over 2 and 3.
    found = task_scores(scores)
    assert found["acc"] == pytest.approx(7 / 12) and found["acc_stderr"] == pytest.approx(math.sqrt(7 / 24 / 2 / 3))
    # pass@2, the samples that all have: 1 - C(3,2)/C(4,2) = 1/2, 1, 1 - C(1,2)/C(2,2) = 1.
    assert found["pass@2"] == pytest.approx(2.5 / 3)
    assert task_scores(scores[:1])["acc_stderr"] == 0.0
    assert task_scores([ProblemScore(key="a", domain="math", samples=1, correct=0, errors=1)]) == {}


def test_lm_eval(saved: Path, tmp_path: Path) -> None:
    results, *samples = export_evaluation(saved, "lm-eval", tmp_path / "out")
    assert results == tmp_path / "out" / "..__runs__Qwen__x" / "results_2026-11-22T17-09-26.json"
    assert [file.name for file in samples] == [
        "samples_gsm8k_2026-11-22T17-09-26.jsonl",
        "samples_kk-2ppl_2026-11-22T17-09-26.jsonl",
    ]
    found = json.loads(results.read_text())
    assert found["results"]["gsm8k"]["acc,none"] == 0.75 and found["results"]["gsm8k"]["pass@2,none"] == 1.0
    assert found["results"]["gsm8k"]["acc_stderr,none"] == pytest.approx(0.25)
    assert found["n-samples"]["gsm8k"] == {"original": 2, "effective": 2}
    assert found["configs"]["gsm8k"]["generation_kwargs"] == {
        "do_sample": True,
        "max_gen_toks": 64,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    for name in ("versions", "n-shot", "higher_is_better", "group_subtasks", "configs"):
        assert found[name].keys() == found["results"].keys()
    lines = [json.loads(line) for line in samples[0].read_text().splitlines()]
    assert [(line["doc_id"], line["acc"], line["target"]) for line in lines] == [(0, 0.5, "0"), (1, 1.0, "1")]
    assert lines[0]["resps"] == [["0.0 ?", "0.1 ?"]] and lines[0]["filtered_resps"] == [["7", "7"]]
    assert json.loads(lines[0]["arguments"]["gen_args_0"]["arg_0"])[0]["content"] == "<script>0</script>?"
    assert lines[0]["prompt_hash"] != lines[1]["prompt_hash"]
    (puzzle,) = (json.loads(line) for line in samples[1].read_text().splitlines())
    assert json.loads(puzzle["target"]) == {"kind": "word", "answer": "ja"} and puzzle["acc"] == 0.0


def test_lighteval(saved: Path, tmp_path: Path) -> None:
    results, *details = export_evaluation(saved, "lighteval", tmp_path / "out")
    assert results == tmp_path / "out" / "results" / "runs" / "Qwen" / "x" / "results_2026-11-22T17-09-26.json"
    found = json.loads(results.read_text())
    assert found["results"]["gsm8k:0"]["acc"] == 0.75 and found["results"]["kk-2ppl:0"]["acc"] == 0.0
    assert found["results"]["all"]["acc"] == pytest.approx(0.375)
    assert found["config_general"]["model_name"] == "../runs/Qwen/x"
    folder = tmp_path / "out" / "details" / "runs" / "Qwen" / "x" / "2026-11-22T17-09-26"
    assert details[0] == folder / "details_gsm8k|0_2026-11-22T17-09-26.parquet"
    first = pq.read_table(details[0]).to_pylist()[0]
    assert first["doc"]["task_name"] == "gsm8k|0" and first["doc"]["choices"] == ["0"]
    assert first["model_response"]["text"] == ["0.0 ?", "0.1 ?"] and first["metric"] == {"acc": 0.5}


def test_what_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown form of export `lmeval`.*Did you mean `lm-eval`"):
        export_evaluation(saved, "lmeval", tmp_path)
    saved.with_suffix(".completions.parquet").unlink()
    with pytest.raises(RunError, match="There are no completions"):
        export_evaluation(saved, "lm-eval", tmp_path)
