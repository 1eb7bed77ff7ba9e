"""The files of `results/`: tables as CSV with rounded numbers, JSON without what changes from one writing to the next.

The same runs give the same bytes: no dates, no paths of the machine, rows in a fixed order.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import write_text

Row = Mapping[str, Any]
DIGITS = 6
"""Digits after the point in CSV files."""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows in the order of `columns`; None and NaN are empty cells, truth is `yes` or `no`.

    Raises:
        RunError: The file could not be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV: numbers as numbers, empty cells as None, `yes` and `no` as truth; none without a file.

    Raises:
        RunError: It cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: _value(cell) for key, cell in row.items()} for row in csv.DictReader(file, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({error}). `python -m study results` writes it anew.") from error


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON.

    Raises:
        RunError: The file could not be written.
    """
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the data of a JSON file; an empty mapping without a file.

    Raises:
        RunError: It is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}). `python -m study results` writes it anew.") from error


def without_paths(text: str, runs: Path) -> str:
    """Return text with paths below `runs` made relative to it, as given or absolute, and the rest of the machine out.

    Example:
        >>> without_paths("starts from /data/study/models/middle", Path("/data/study"))
        'starts from models/middle'
    """
    for folder in sorted({f"{runs}/", f"{runs.absolute()}/", f"{runs.resolve()}/"}, key=len, reverse=True):
        text = text.replace(folder, "")
    return re.sub(r"(?<![\w.~/-])/(?:[\w.+-]+/)+([\w.+-]+)", r"\1", text)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        rounded = round(value, DIGITS)
        return f"{rounded + 0.0:.{DIGITS}f}".rstrip("0").rstrip(".") if rounded else "0"
    return str(value)


def _value(cell: str | None) -> Any:
    if not cell:
        return None
    if cell in ("yes", "no"):
        return cell == "yes"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
