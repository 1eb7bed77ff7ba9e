"""LiveCodeBench (livecodebench/code_generation_lite): problems of contests with their dates, public and private tests.

The private tests are JSON text, or such a text pickled, packed and written in base64; see `plain_pickle` for how that
is read. A problem's id begins with the day of its contest (`2024-08-04/3562`), so that problems of a time can be told.
Refused are tasks whose private tests are missing (what the public ones ask stands in the question), that need a
picture, or that say they have many right answers (see `many_answers`).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Any

from mcpo_rl.data.schemas.base import HubDataset, ReadOptions, Row, RowRefused, Schema
from mcpo_rl.data.schemas.code.cells import SCRIPT, SITE_IMPORTS, asked, fenced, level, text, time_limit
from mcpo_rl.data.schemas.code.plain_pickle import read_pickle, unpack
from mcpo_rl.data.schemas.many_answers import check_one_answer
from mcpo_rl.data.schemas.pictures import check_no_picture
from mcpo_rl.data.schemas.plain import parse_json
from mcpo_rl.data.schemas.program_tests import tests_from_io
from mcpo_rl.types import Problem

_LEVELS = {"easy": 1.0, "medium": 2.0, "hard": 3.0}
_TYPES = ("stdin", "functional")
_LIMIT_S = 6.0
"""As in LiveCodeBench's own judging."""


def _to_problem(row: Row, options: ReadOptions) -> Problem:
    starter = text(row, "starter_code", needed=False)
    question, private = text(row, "question_content"), _private_tests(row)
    if not private:
        raise RowRefused("private tests are missing", "`private_test_cases` is empty; the public ones are shown")
    check_no_picture(question, row)
    tests = [*_tests(row, "public_test_cases"), *private]
    kinds = {test["testtype"] for test in tests}
    if len(kinds) > 1:
        raise RowRefused("not a test", "some tests call a function, others run a program")
    fn_name = _function(row) if kinds == {"functional"} else ""
    reference: dict[str, Any] = dict(
        tests_from_io(
            [test["input"] for test in tests], [test["output"] for test in tests], fn_name, starter_code=starter
        )
    )
    check_one_answer(reference, question)
    reference |= {"time_limit_s": time_limit(_LIMIT_S, len(tests)), "prelude": SITE_IMPORTS}
    return Problem(
        domain=options.domain or "code",
        prompt=asked(question, *_form(fn_name, starter)),
        reference=reference,
        id=_id(row),
        difficulty=level(row, "difficulty", _LEVELS),
    )


def _form(fn_name: str, starter: str) -> list[str]:
    if fn_name:
        return ["Begin with this code; the names in it are imported already:", fenced(starter)]
    return [SCRIPT]


def _function(row: Row) -> str:
    metadata = row.get("metadata")
    facts = parse_json(metadata, "`metadata`") if isinstance(metadata, str) else metadata
    name = facts.get("func_name") if isinstance(facts, dict) else None
    if not isinstance(name, str):
        raise RowRefused("no function", f"its tests call a function, and `metadata` names none: {metadata!r:.60}")
    return name


def _tests(row: Row, column: str) -> list[dict[str, str]]:
    """Return the tests in a cell of JSON text, or in one that was parsed already."""
    cell = row.get(column)
    return _checked(parse_json(cell, f"`{column}`") if isinstance(cell, str) else cell, column) if cell else []


def _private_tests(row: Row) -> list[dict[str, str]]:
    column = "private_test_cases"
    cell = row.get(column)
    if not isinstance(cell, str) or not cell.strip() or cell.lstrip().startswith("["):
        return _tests(row, column)
    what = f"`{column}`"
    try:
        packed = b64decode(cell)
    except (binascii.Error, ValueError) as error:
        raise RowRefused("not plain data", f"{what} is neither JSON nor base64: {error}") from None
    value = read_pickle(unpack(packed, what), what)
    return _checked(parse_json(value, what) if isinstance(value, str) else value, column)


def _checked(value: Any, column: str) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise RowRefused("not a test", f"`{column}` is {value!r:.60}; expected a list of tests")
    for test in value:
        cells = [test.get(key) for key in ("input", "output", "testtype")] if isinstance(test, dict) else [None]
        if not all(isinstance(cell, str) for cell in cells) or cells[2] not in _TYPES:
            raise RowRefused("not a test", f"`{column}` holds {test!r:.80}; expected input, output and testtype")
    return value


def _id(row: Row) -> str:
    number = row.get("question_id")
    day = re.match(r"\d{4}-\d{2}-\d{2}", str(row.get("contest_date") or ""))
    return "" if number is None else f"{day[0]}/{number}" if day else str(number)


SCHEMA = Schema(
    name="livecodebench",
    columns=("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata"),
    to_problem=_to_problem,
)
_FILES = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7)))
SCHEMAS = (SCHEMA,)
DATASETS = (
    HubDataset(
        name="livecodebench/code_generation_lite",
        schema=SCHEMA,
        licence="CC",
        split="test",
        # Each release adds a file: `split: release_v2` is what the loading script calls version_tag release_v2, `v2`
        # the file that it added.
        files={
            "test": _FILES,
            **{f"release_v{count}": _FILES[:count] for count in range(1, 7)},
            **{f"v{count}": _FILES[count - 1 : count] for count in range(1, 7)},
        },
    ),
)
