"""Sources: rows become problems, and what is wrong with a row is said with its place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcpo_rl.data import load_problems, to_dataset
from mcpo_rl.domains import DOMAINS
from mcpo_rl.errors import ProblemError, UnknownDomainError


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_gsm8k_rows_become_math_problems(tmp_path):
    file = write(tmp_path / "g.jsonl", [{"question": "One and one?", "answer": "1+1=<<1+1=2>>2\n#### 1,002"}])
    (problem,) = load_problems({"path": str(file), "domain": "math"})
    assert problem.prompt == [{"role": "user", "content": "One and one?"}]
    assert problem.reference == "1,002"
    assert problem.id == "g.jsonl#0"
    assert DOMAINS["math"].verify("So #### 1002", problem.reference).reward == 1.0


def test_own_schema_round_trips_through_the_dataset(tmp_path):
    problems = load_problems({"source": "procedural", "domain": "logic", "count": 12})
    problems += load_problems({"source": "procedural", "domain": "code", "count": 4})
    dataset = to_dataset(problems)
    assert dataset.column_names == ["prompt", "domain", "reference", "id", "source", "difficulty"]
    file = tmp_path / "problems.parquet"
    dataset.to_parquet(str(file))
    assert load_problems({"path": str(file)}) == problems
    lines = tmp_path / "problems.jsonl"
    dataset.to_json(str(lines))
    assert load_problems({"path": str(lines)}) == problems


def test_verl_rows_are_read(tmp_path):
    row = {
        "data_source": "x",
        "prompt": [{"role": "user", "content": "2+2?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "v.parquet")
    (problem,) = load_problems({"path": str(tmp_path / "v.parquet")})
    assert (problem.domain, problem.reference) == ("math", "4")


def test_csv_with_named_columns(tmp_path):
    (tmp_path / "c.csv").write_text('aufgabe,loesung\n"Was ist 3+4?",7\n', encoding="utf-8")
    entry = {
        "path": str(tmp_path / "c.csv"),
        "domain": "math",
        "columns": {"prompt": "aufgabe", "reference": "loesung"},
    }
    (problem,) = load_problems(entry)
    assert problem.prompt[0]["content"] == "Was ist 3+4?"


def test_limit_shuffle_and_answer_format(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"question": f"{n}?", "answer": str(n)} for n in range(50)])
    entry = {"path": str(file), "domain": "math", "limit": 5}
    assert [p.reference for p in load_problems(entry)] == ["0", "1", "2", "3", "4"]
    shuffled = load_problems({**entry, "shuffle_seed": 1})
    assert shuffled == load_problems({**entry, "shuffle_seed": 1})
    assert [p.reference for p in shuffled] != ["0", "1", "2", "3", "4"]
    (first, *_) = load_problems({**entry, "answer_format": True})
    assert first.prompt[0]["content"] == f"0?\n\n{DOMAINS['math'].answer_format}"


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        ('{"question": "a"}\n', {"domain": "math"}, r"line 1: no reference.*found question"),
        ('{"q": "a", "answer": "1"}\n', {"domain": "math"}, r"line 1: no prompt"),
        ('{"question": "a", "answer": "1"}\n', {}, r"no domain.*give the entry a `domain`"),
        ('{"question": "", "answer": "1"}\n', {"domain": "math"}, r"the prompt is ''"),
        ('{"question": "a", "answer": "1"}\n{"questi', {"domain": "math"}, r"line 2: not a JSON object"),
        ("[1]\n", {"domain": "math"}, r"line 1: expected a JSON object"),
        ("", {"domain": "math"}, r"holds no rows"),
        ('{"question": "a", "answer": "x"}\n', {"domain": "code"}, r"line 1: "),
    ],
)
def test_what_is_wrong_with_a_row_is_said_with_its_place(tmp_path, content, entry, message):
    file = tmp_path / "rows.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ProblemError, match=message):
        load_problems({"path": str(file), **entry})


def test_unknown_domains_keys_and_files_are_said(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"question": "a", "answer": "1"}])
    with pytest.raises(UnknownDomainError, match="math"):
        load_problems({"path": str(file), "domain": "maths"})
    with pytest.raises(ProblemError, match="Did you mean `limit`"):
        load_problems({"path": str(file), "domain": "math", "limt": 3})
    with pytest.raises(ProblemError, match="no such file"):
        load_problems({"path": str(tmp_path / "b.jsonl"), "domain": "math"})
    with pytest.raises(ProblemError, match="needs one of the keys"):
        load_problems({"domain": "math"})
    with pytest.raises(ProblemError, match="unknown file type"):
        load_problems({"path": str(write(tmp_path / "a.txt", [])), "domain": "math"})


def test_wrong_encodings_and_truncated_parquet_are_said(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é", "answer": "1"}\n'.encode("latin-1"))
    with pytest.raises(ProblemError, match="not UTF-8"):
        load_problems({"path": str(tmp_path / "latin.jsonl"), "domain": "math"})
    pq.write_table(pa.table({"question": ["a"] * 100, "answer": ["1"] * 100}), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProblemError, match="cannot be read as Parquet"):
        load_problems({"path": str(tmp_path / "cut.parquet"), "domain": "math"})


def test_no_problems_make_no_dataset():
    with pytest.raises(ProblemError, match="no problems"):
        to_dataset([])
