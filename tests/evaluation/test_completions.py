"""Every completion of an evaluation, on disk and back."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mcpo_rl.errors import RunError
from mcpo_rl.evaluation import EvaluatedCompletion, EvaluationResult, completions_path, read_completions
from mcpo_rl.evaluation.completions import COLUMNS
from mcpo_rl.scores import EvaluationRecord, ProblemScore
from mcpo_rl.types import Problem, Status, Verdict

PROBLEM = Problem(
    domain="logic",
    prompt=[{"role": "user", "content": "Où est <script>é🙂</script>?"}],
    reference={"kind": "yes_no", "answer": "yes"},
    id="p",
    source="s",
)


def result(*texts: str) -> EvaluationResult:
    failed = Verdict(status=Status.ERROR, reward=None, answer="", detail="killed")
    rows = [
        EvaluatedCompletion(problem=0, sample=i, text=t, verdict=failed, tokens=3, truncated=True)
        for i, t in enumerate(texts)
    ]
    score = ProblemScore(key="k", domain="logic", samples=len(texts), correct=0, errors=len(texts))
    return EvaluationResult(model="m", settings={}, scores=[score], problems=[PROBLEM], completions=rows)


def test_there_and_back(tmp_path: Path) -> None:
    path = result("yes \ud83d", "", "x" * 500_000).save(tmp_path / "eval.json")
    assert completions_path(path) == tmp_path / "eval.completions.parquet"
    rows = read_completions(path)
    assert rows == read_completions(completions_path(path))
    assert rows[0] == {
        "key": "k",
        "domain": "logic",
        "source": "s",
        "id": "p",
        "sample": 0,
        "prompt": PROBLEM.prompt,
        "reference": PROBLEM.reference,
        "completion": "yes ?",  # UTF-8 has no lone surrogate
        "status": "error",
        "answer": "",
        "reward": None,
        "detail": "killed",
        "tokens": 3,
        "truncated": True,
    }
    assert [len(row["completion"]) for row in rows[1:]] == [0, 500_000]


def test_types_do_not_depend_on_the_values(tmp_path: Path) -> None:
    path = result("a").save(tmp_path / "eval.json")  # every reward is null
    kinds = {field.name: str(field.type) for field in pq.read_schema(completions_path(path))}
    assert kinds == {**COLUMNS, "reward": "double"}


def test_nothing_is_saved_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(RunError, match="No space left"):
        result("a").save(tmp_path / "eval.json")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There are no completions"):
        read_completions(tmp_path / "eval.json")
    path = result("a").save(tmp_path / "eval.json")
    completions_path(path).write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot be read as the completions"):
        read_completions(path)
    assert EvaluationRecord.read(path).micro.errors == 1.0
