"""`mcpo-rl verify`: JSON lines in, verdicts out, in order."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINES = [
    {"reference": "3/4", "completion": "So it is \\boxed{0.75}."},
    {"reference": "3/4", "completion": "So it is \\boxed{0.8}."},
    {"reference": "12", "completion": "The answer is 12"},
]


def verdicts(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def as_lines(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_a_file(command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(as_lines(LINES))
    answer = command("verify", "--domain", "math", path)
    assert answer.status == 0
    assert [row["status"] for row in verdicts(answer.out)] == ["correct", "incorrect", "correct"]
    assert [row["reward"] for row in verdicts(answer.out)] == [1.0, 0.0, 1.0]
    assert all(set(row) == {"status", "reward", "answer", "detail"} for row in verdicts(answer.out))


def test_standard_input(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "reference": {"asserts": ["assert f(2) == 4"]},
            "completion": f"```python\ndef f(x):\n    return x * {factor}\n```",
        }
        for factor in (2, 3, 2)
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(as_lines(rows)))
    answer = command("verify", "--domain", "code")
    assert [row["status"] for row in verdicts(answer.out)] == ["correct", "incorrect", "correct"]


def test_a_line_that_cannot_be_judged_is_an_error_verdict(command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(as_lines([LINES[0], "not json", {"completion": "x"}, LINES[1]]))
    answer = command("verify", "--domain", "math", path)
    rows = verdicts(answer.out)
    assert [row["status"] for row in rows] == ["correct", "error", "error", "incorrect"]
    assert rows[1]["reward"] is None
    assert all(row["detail"] for row in rows[1:3])


def test_unknown_domain(command: Callable[..., Any]) -> None:
    answer = command("verify", "--domain", "maths")
    assert answer.status == 2
    assert "Did you mean `math`?" in answer.err


def test_missing_file(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("verify", "--domain", "math", tmp_path / "none.jsonl")
    assert answer.status == 2
    assert "none.jsonl" in answer.err
    assert "Traceback" not in answer.err


def test_empty_input(command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    answer = command("verify", "--domain", "math", path)
    assert (answer.status, answer.out) == (0, "")
