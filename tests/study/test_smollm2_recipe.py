"""SmolLM2's part of the study: its recipe and the problems that it names."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.config import check_fields, load_recipe
from mcpo_rl.data import load_problems
from mcpo_rl.domains import get_domain
from mcpo_rl.trainers.trl import MCPOConfig
from study.plan import HERE
from study.smollm2 import DIRECTORY, HELDOUT, KINDS, TRAIN, write_problems

RECIPE = HERE / "smollm2.yaml"

REFERENCES: dict[str, tuple[Any, Any]] = {
    "math": ("84", "3"),
    "code": (
        {"tests": [{"type": "call", "fn": "solve", "args": [x], "expected": y} for x, y in ((7, 5), (4, 12))]},
        {"tests": [{"type": "call", "fn": "solve", "args": [[4, 5, 6]], "expected": 21}]},
    ),
    "logic": (
        {"kind": "word", "answer": "False"},
        {"kind": "kk", "roles": {"Dan": "knight", "Hal": "knave"}},
    ),
}
"""Worked out by hand for the question of each example."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("reasoning_gym")
    directory = tmp_path_factory.mktemp("smollm2")
    write_problems(directory)
    return directory


def rows(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_trainer_knows_every_key() -> None:
    check_fields(load_recipe(str(RECIPE)).training, typing.get_type_hints(MCPOConfig))


def test_the_recipe_reads_what_is_written() -> None:
    recipe = load_recipe(str(RECIPE))
    assert [Path(entry["path"]) for entry in recipe.problems] == [DIRECTORY / "train.jsonl"]
    assert [Path(entry["path"]) for entry in recipe.eval_problems] == [DIRECTORY / "heldout.jsonl"]


def test_no_problem_is_drawn_twice() -> None:
    training = load_recipe(str(RECIPE)).training
    batch = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    prompts, rest = divmod(batch, training["num_generations"])
    assert rest == 0
    assert prompts % len(KINDS) == 0
    assert training["max_steps"] * prompts // len(KINDS) <= TRAIN


def test_training_and_evaluation_share_no_question(written: Path) -> None:
    train, heldout = rows(written, "train"), rows(written, "heldout")
    for part, count in ((train, TRAIN), (heldout, HELDOUT)):
        assert {domain: sum(row["domain"] == domain for row in part) for domain in KINDS} == dict.fromkeys(KINDS, count)
    asked = [row["prompt"][-1]["content"] for row in train + heldout]
    assert len(set(asked)) == len(asked)
    assert not {kind.question for kinds in KINDS.values() for kind in kinds} & set(asked)


def test_problems_are_read_back(written: Path) -> None:
    problems = load_problems({"path": str(written / "heldout.jsonl")})
    assert len(problems) == HELDOUT * len(KINDS)
    assert {message["role"] for message in problems[0].prompt[:-1]} == {"system", "user", "assistant"}


@pytest.mark.parametrize("domain", sorted(KINDS))
def test_every_example_is_right(domain: str) -> None:
    for kind, reference in zip(KINDS[domain], REFERENCES[domain], strict=True):
        assert get_domain(domain).verify(kind.answer, reference).status == "correct"
