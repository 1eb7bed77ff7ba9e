"""The completions of an evaluation on disk: one Parquet row per problem and sample, beside the eval.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import encodable, replacing

COLUMNS = {
    "key": "string",
    "domain": "string",
    "source": "string",
    "id": "string",
    "sample": "int64",
    "prompt": "large_string",
    "reference": "large_string",
    "completion": "large_string",
    "status": "string",
    "answer": "string",
    "reward": "float64",
    "detail": "string",
    "tokens": "int64",
    "truncated": "bool",
}
"""Name and type of every column. `key` is the problem's (`ProblemScore.key`); `sample` counts from 0; `prompt`
(messages) and `reference` are JSON text; `reward` is null where the verifier failed."""


def completions_path(evaluation: str | Path) -> Path:
    """Return where the completions of an evaluation lie: `eval.completions.parquet` beside `eval.json`."""
    return Path(evaluation).with_suffix(".completions.parquet")


def write_completions(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows with the keys of `COLUMNS`; `prompt` and `reference` as objects.

    Raises:
        RunError: The file could not be written; nothing of it stays behind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # An all-null column would lose its type, so the schema is fixed.
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    table = pa.Table.from_pylist([_row(row) for row in rows], schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_completions(path: str | Path) -> list[dict[str, Any]]:
    """Read the completions of an evaluation.

    Args:
        path: The Parquet file, or the eval.json that it lies beside.

    Returns:
        One mapping per completion with the keys of `COLUMNS`, `prompt` and `reference` parsed.

    Raises:
        RunError: There is no such file, or it holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = completions_path(path) if Path(path).suffix == ".json" else Path(path)
    try:
        rows: list[dict[str, Any]] = pq.read_table(file, columns=list(COLUMNS)).to_pylist()
        for row in rows:
            row.update(prompt=json.loads(row["prompt"]), reference=json.loads(row["reference"]))
    except FileNotFoundError as error:
        raise RunError(f"There are no completions {file}.") from error
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"{file} cannot be read as the completions of an evaluation ({error}).") from error
    return rows


def _row(row: dict[str, Any]) -> dict[str, Any]:
    written = {name: json.dumps(row[name], ensure_ascii=False) for name in ("prompt", "reference")}
    return {name: encodable(value) if isinstance(value, str) else value for name, value in (row | written).items()}
