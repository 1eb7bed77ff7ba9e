"""Benchmarks by name: rows in the form of the public datasets, from local copies, put and sampled as documented."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcpo_rl.data.schemas.catalogue import HUB
from mcpo_rl.domains import DOMAINS
from mcpo_rl.errors import ConfigError, ProblemError
from mcpo_rl.evaluation.benchmarks import (
    BENCHMARKS,
    PROTOCOLS,
    Part,
    get_benchmark,
    get_benchmarks,
    load_benchmark,
    metric_name,
)
from mcpo_rl.types import Status

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
COPIES = {
    "gsm8k/main/test-00000-of-00001.parquet": "mathematics/gsm8k-main.jsonl",
    "HuggingFaceH4/MATH-500/test.jsonl": "mathematics/math-500.jsonl",
    "math-ai--aime24/data/test-00000-of-00001.parquet": "mathematics/aime24.jsonl",
    "aime25/test.jsonl": "mathematics/aime25.jsonl",
    "humaneval/HumanEval.jsonl": "code/human_eval.jsonl",
    "mbpp/full/test-00000-of-00001.parquet": "code/mbpp_full.jsonl",
    "livecodebench/test4.jsonl": "code/livecodebench.jsonl",
    "zebralogic/grid_mode/test-00000-of-00001.parquet": "logic/zebra_grid.jsonl",
}
"""Where a copy of each repository has its test split -> the rows of ours that are in its form."""


def rows_of(sample: str) -> list[str]:
    return (SAMPLES / sample).read_text(encoding="utf-8").splitlines()


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Return a folder of local copies, the files named and nested as in the repositories."""
    for name, sample in COPIES.items():
        file = tmp_path / "copies" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([json.loads(row) for row in rows_of(sample)]), file)
        else:
            shutil.copy(SAMPLES / sample, file)
    # A second contest file, with one problem inside the window, of another id, and one from before it.
    row = json.loads(rows_of("code/livecodebench.jsonl")[0])
    later = [row | {"question_id": "9", "contest_date": "2024-12-01T00:00:00"}, row | {"question_id": "8"}]
    (tmp_path / "copies" / "livecodebench" / "test5.jsonl").write_text("\n".join(map(json.dumps, later)) + "\n")
    folder = tmp_path / "copies" / "K-and-K" / "knights-and-knaves" / "test"
    folder.mkdir(parents=True)
    puzzle = json.loads(rows_of("logic/knights_and_knaves.jsonl")[0])
    for people in range(2, 9):
        lines = (json.dumps(puzzle | {"index": 10 * people + number}) for number in range(3))
        (folder / f"people{people}_num100.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "copies"


def lenient(name: str):
    """Return a benchmark that admits the rows of our samples that are there to be refused."""
    return replace(get_benchmark(name), max_drop=1.0)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if not name.startswith("livecodebench")])
def test_a_copy_of_the_repository_is_read(name: str, copies: Path) -> None:
    loaded = load_benchmark(lenient(name), data=copies)
    assert loaded.problems
    assert {problem.domain for problem in loaded.problems} == {BENCHMARKS[name].domain}
    assert all(problem.source.partition("/")[0] == name for problem in loaded.problems)
    assert all(fingerprint.startswith("sha256:") for fingerprint in loaded.origin.values())
    for problem in loaded.problems:
        DOMAINS[problem.domain].check_reference(problem.reference)


def test_every_dataset_is_one_that_is_read_by_name() -> None:
    for benchmark in BENCHMARKS.values():
        for part in benchmark.parts:
            stored = HUB[part.hub]
            assert not stored.files or part.split in stored.files
            assert part.entry()["hub"] == part.hub


def test_answers_in_the_form_that_is_asked_for_count(copies: Path) -> None:
    answers = {
        "gsm8k": "So it is \\boxed{40}",
        "aime25": "\\boxed{21}",
        "kk": "<answer>(1) Petra is a knave (2) Olaf is a knight</answer>",
        "zebralogic": '<answer>{"header": ["House", "Name", "Pet"], "rows": [["1", "Moritz", "newt"], '
        '["2", "Tilda", "goose"]]}</answer>',
    }
    for name, answer in answers.items():
        problem = load_benchmark(lenient(name), data=copies).problems[0]
        domain = DOMAINS[problem.domain]
        assert domain.verify(answer, problem.reference).status is Status.CORRECT, name
        assert domain.verify("I do not know.", problem.reference).status is Status.INCORRECT, name


def test_how_a_question_is_put(copies: Path) -> None:
    own = load_benchmark(lenient("gsm8k"), data=copies).problems[0].prompt
    assert own[-1]["content"].endswith(
        "left?\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    )
    domain = load_benchmark(lenient("gsm8k"), data=copies, form="domain").problems[0].prompt
    assert domain[-1]["content"].endswith(f"left?\n\n{DOMAINS['math'].answer_format}")
    assert (
        load_benchmark(lenient("gsm8k"), data=copies, form="none").problems[0].prompt[-1]["content"].endswith("left?")
    )
    contest = load_benchmark(lenient("livecodebench"), data=copies).problems[0].prompt
    assert [message["role"] for message in contest] == ["system", "user"]
    with pytest.raises(ConfigError, match=r"unknown answer form `domains`.*Did you mean `domain`"):
        load_benchmark(lenient("gsm8k"), data=copies, form="domains")


def test_a_window_of_days(copies: Path) -> None:
    everything = [json.loads(row) for row in (copies / "livecodebench" / "test4.jsonl").read_text().splitlines()] + [
        json.loads(row) for row in (copies / "livecodebench" / "test5.jsonl").read_text().splitlines()
    ]
    days = {str(row["question_id"]): row["contest_date"][:10] for row in everything if row.get("contest_date")}
    loaded = load_benchmark(lenient("livecodebench"), data=copies)
    assert "2024-12-01/9" in {problem.id for problem in loaded.problems}
    for problem in loaded.problems:
        day, _, number = problem.id.partition("/")
        assert days[number] == day >= "2024-08-01"
    assert loaded.dropped and "some of them outside of its days" in loaded.notices[0]
    december = replace(
        get_benchmark("livecodebench@2024-12-01..2024-12-02"), parts=lenient("livecodebench").parts, max_drop=1
    )
    assert [problem.id for problem in load_benchmark(december, data=copies).problems] == ["2024-12-01/9"]
    before = replace(december, keep=get_benchmark("livecodebench@2020-01-01..2020-02-01").keep)
    with pytest.raises(ProblemError, match="there is not one problem"):
        load_benchmark(before, data=copies)


def test_a_line_of_its_own_for_each_size_and_an_even_limit(copies: Path) -> None:
    loaded = load_benchmark(get_benchmark("kk"), data=copies, limit=9)
    counts = [sum(problem.source == f"kk/{people}ppl" for problem in loaded.problems) for people in range(2, 9)]
    assert counts == [2, 2, 1, 1, 1, 1, 1]
    assert len(load_benchmark(get_benchmark("kk"), data=copies, limit=1000).problems) == 21


def test_another_number_of_problems_is_said_and_too_many_refused_ones_are_an_error(copies: Path) -> None:
    loaded = load_benchmark(lenient("aime25"), data=copies)
    assert loaded.notices == (
        "aime25: 1 of 3 rows cannot be judged here and are left out (no answer: 1).",
        "aime25: 2 problems were read where its papers count 30: numbers of another set cannot be compared with "
        "theirs.",
    )
    assert loaded.facts()["benchmark"] == "aime25" and loaded.facts()["dropped"] == {"no answer": 1}
    with pytest.raises(ProblemError, match=r"mbpp: 3 of 5 rows gave no problem .*; at most 10% are admitted"):
        load_benchmark(get_benchmark("mbpp"), data=copies)
    left = load_benchmark(lenient("mbpp"), data=copies)
    assert len(left.problems) == 2 and sum(left.dropped.values()) == 3
    assert "3 of 5 rows cannot be judged here and are left out" in left.notices[0]


def test_a_package_stands_in_for_the_hub(tmp_path: Path) -> None:
    loaded = load_benchmark(get_benchmark("humaneval"), data=tmp_path)
    assert len(loaded.problems) == BENCHMARKS["humaneval"].problems == 164 and not loaded.notices
    assert list(loaded.origin) == ["human-eval"]


def test_the_hubs_cache_is_read_where_the_hub_is_off(
    copies: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = []

    def snapshot(name: str, *, repo_type: str, local_files_only: bool) -> str:
        asked.append((name, repo_type, local_files_only))
        return str(copies / "gsm8k")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert load_benchmark(lenient("gsm8k"), data=tmp_path).problems
    assert asked == [("openai/gsm8k", "dataset", True)]


def test_without_hub_and_copy_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ProblemError) as refused:
        load_benchmark(get_benchmark("math500"))
    said = str(refused.value)
    assert "hf download HuggingFaceH4/MATH-500 --repo-type dataset --local-dir DATA/math500" in said
    assert "--benchmark-data DATA" in said
    (tmp_path / "math500").mkdir()
    with pytest.raises(ProblemError, match=r"math500 has none of the files of HuggingFaceH4/MATH-500, split `test`"):
        load_benchmark(get_benchmark("math500"), data=tmp_path)
    with pytest.raises(ProblemError, match="there is no folder"):
        load_benchmark(get_benchmark("math500"), data=tmp_path / "none")


def test_names() -> None:
    assert get_benchmark(" MATH-500 ").name == "math500" and get_benchmark("lcb").name == "livecodebench"
    assert [one.name for one in get_benchmarks("aime24, aime25,aime24")] == ["aime24", "aime25"]
    assert [one.name for one in get_benchmarks("all")] == list(BENCHMARKS)
    for name, part in (
        ("math50", "Did you mean `math500`?"),
        ("livecodebench@2024-10-01", "is no window"),
        ("livecodebench@2024-10-01..2024-10-01", "is no window"),
        ("livecodebench@2024-10-40..2024-12-01", "days are written as in"),
    ):
        with pytest.raises(ConfigError, match=part.replace("?", r"\?")):
            get_benchmark(name)
    with pytest.raises(ConfigError, match="no benchmark is named"):
        get_benchmarks(" ,")


def test_sampling_of_the_papers() -> None:
    draws = {name: benchmark.samples() for name, benchmark in BENCHMARKS.items()}
    assert {name: draws[name] for name in ("aime24", "aime25", "humaneval", "livecodebench", "zebralogic")} == {
        "aime24": 32,
        "aime25": 32,
        "humaneval": 4,
        "livecodebench": 4,
        "zebralogic": 4,
    }
    guru, r1, greedy = (BENCHMARKS["aime24"].sampling(protocol, seed=3) for protocol in PROTOCOLS)
    assert (guru.temperature, guru.top_p, guru.max_new_tokens, guru.seed) == (1.0, 0.7, 28672, 3)
    assert (r1.temperature, r1.top_p, r1.max_new_tokens) == (0.6, 0.95, 32768)
    assert (greedy.temperature, greedy.max_new_tokens) == (0.0, 4096)
    assert (BENCHMARKS["gsm8k"].samples("r1"), BENCHMARKS["aime24"].samples("greedy")) == (64, 1)
    assert (metric_name(32), metric_name(1)) == ("avg@32", "pass@1")


def test_a_part_reads_the_hub() -> None:
    part = Part(hub="openai/gsm8k", config="main", split="test")
    assert part.entry() == {"hub": "openai/gsm8k", "split": "test", "name": "main"}


def test_the_page_has_every_benchmark_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name, benchmark in BENCHMARKS.items():
        metric, hub = metric_name(benchmark.samples()), benchmark.parts[0].hub
        assert f"| `{name}` | {benchmark.domain} | {benchmark.problems} | {metric} | `{hub}` |\n" in page
