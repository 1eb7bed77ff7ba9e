"""metrics.jsonl: one JSON object per line, appended while training, read also when the last line was cut short."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import write_error
from mcpo_rl.runs.manifest import plain


def encode(metrics: Mapping[str, Any]) -> bytes:
    """Return `metrics` as one JSON line. Numbers that JSON lacks (NaN, infinities) become null."""
    row = {key: None if _is_nonfinite(value) else value for key, value in plain(metrics).items()}
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def append(path: Path, metrics: Mapping[str, Any]) -> None:
    """Append one line to `path`.

    Raises:
        RunError: The line could not be written; then no part of it stays behind.
    """
    line = encode(metrics)
    try:
        # Unbuffered: a line is in the operating system's hands when this returns, and a short write is seen here.
        with path.open("ab+", buffering=0) as file:
            whole = file.seek(0, 2)
            if whole and _last_byte(path) != b"\n":  # a crash cut the line before: keep it apart from this one
                line = b"\n" + line
            try:
                while line:  # a nearly full disk takes a part; asked again, it says why not the rest
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(whole)
                raise
    except OSError as error:
        raise write_error(path, error) from error


def read(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the lines of `path` that are JSON objects, and the numbers (from 1) of those that are not."""
    rows: list[dict[str, Any]] = []
    broken: list[int] = []
    # Not splitlines: it would also cut at U+2028 and others, which JSON strings may hold.
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            broken.append(number)
    return rows, broken


def last_step(rows: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the largest `step`, or None where there is none."""
    return max((row["step"] for row in rows if isinstance(row.get("step"), int)), default=None)


def require_step(metrics: Mapping[str, Any]) -> None:
    """Raise `RunError` unless `metrics` has an integer `step`."""
    if not isinstance(metrics.get("step"), int):
        raise RunError(
            f"A line of metrics needs an integer `step`; it has {', '.join(list(metrics)[:5]) or 'nothing'}."
        )


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)


def _is_nonfinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
