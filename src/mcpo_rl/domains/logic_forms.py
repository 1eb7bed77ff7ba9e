"""The written forms of a puzzle's answer: roles, rows and ordered items out of text, JSON and Markdown tables."""

from __future__ import annotations

import json
import re
from typing import Any

_ARTICLE = re.compile(r"^(?:the|a|an)\s+")
_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\d+\s*[.):]\s*|#\s*\d+\s*[:.]?\s*)")
_KNIGHTLY = {
    "knights": "knight", "knaves": "knave", "truth-teller": "knight", "truthteller": "knight", "truth-tellers":
    "knight", "liar": "knave", "liars": "knave",
}  # fmt: skip
_NO_NAMES = {
    *("so", "thus", "therefore", "hence", "then", "and", "but", "while", "finally", "in", "we", "it", "this", "that"),
    *(
        "the",
        "an",
        "is",
        "are",
        "both",
        "all",
        "each",
        "everyone",
        "name",
        "names",
        "person",
        "people",
        "role",
        "roles",
    ),
    *("answer", "final", "solution", "result", "conclusion", "type", "not"),
}
"""Words that may begin with a capital letter without naming anybody."""
_REASONING = re.compile(r"\b(?:if|says?|said|claims?|suppose|assume|either|or|maybe|possibly|would|could|might)\b")


def plain(text: str) -> str:
    """Return `text` in lower case, without emphasis, quotes, outer punctuation or a leading article, single-spaced."""
    text = re.sub(r"[*_`\"“”‘’]|(?<!\w)'|'(?!\w)|\\text\s*|[{}$\\]", " ", text.casefold())
    return _ARTICLE.sub("", " ".join(text.split()).strip(" .,;:!()[]")).strip()


def last_block(text: str) -> str:
    """Return the last paragraph or fenced block of `text`; where it says "the answer is:", what follows that."""
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    if fenced and text.rstrip().endswith("```"):
        return str(fenced[-1]).strip()
    paragraphs = [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]
    block = paragraphs[-1] if paragraphs else ""
    phrases = list(
        re.finditer(r"(?:answer|solution|result|conclusion)\b[*_]*(?:\s+is)?\s*:?[*_]*\s", block, re.IGNORECASE)
    )
    return block[phrases[-1].end() :].strip() if phrases else block.strip()


def read_roles(answer: str, names: set[str], roles: set[str]) -> dict[str, str] | str:
    """Return each named person's one role, or what is wrong (a sentence). `names` and `roles` are plain."""
    data = _json(answer)
    if isinstance(data, dict):
        answer = "\n".join(f"{name}: {role}" for name, role in data.items() if isinstance(role, str))
    text = re.sub(r"[*_`\"“”|]", " ", answer.casefold())
    if _REASONING.search(text):
        return "it argues or offers alternatives instead of naming roles"
    words = sorted(names | roles | set(_KNIGHTLY), key=len, reverse=True)
    token = re.compile(
        rf"(?<!\w)(?:(?P<word>{'|'.join(map(re.escape, words))})(?!\w)\s*(?P<colon>:)?|(?P<not>not|isn't|n't)(?!\w))"
    )
    got: dict[str, str] = {}
    waiting: list[str] = []
    heading = ""
    negated = False
    for match in token.finditer(text):
        if match["not"]:
            negated = True
            continue
        word = _KNIGHTLY.get(match["word"], match["word"]) if match["word"] not in names else match["word"]
        if word in names:
            if heading:
                problem = _assign(got, [word], heading)
                if problem:
                    return problem
            else:
                waiting.append(word)
            continue
        if negated:
            if {"knight", "knave"} != roles or word not in roles:
                return "a negation leaves the role open"
            word, negated = ("knave" if word == "knight" else "knight"), False
        if match["colon"] and not waiting:
            heading = word  # `Knights: Ava, Ben`
            continue
        if not waiting:
            return "a role without a person, or a person with two"
        problem = _assign(got, waiting, word)
        if problem:
            return problem
        waiting = []
    if waiting or negated:
        return "a person without a role"
    known = {part for word in words for part in re.findall(r"\w+", word)} | _NO_NAMES
    for stranger in re.findall(r"\b[A-Z]\w+", answer):
        if stranger.casefold() not in known:
            return f"{stranger} is not in the puzzle"
    return got


def _assign(got: dict[str, str], names: list[str], role: str) -> str:
    for name in names:
        if got.setdefault(name, role) != role:
            return f"{name} has two roles"
    return ""


def read_rows(answer: str, header: list[str]) -> list[list[str]] | None:
    """Return the rows of an assignment, plain, in the order of `header` (plain); None where they cannot be read."""
    data = _json(answer)
    if data is not None:
        return _rows_of_json(data, header)
    lines = [line for line in answer.splitlines() if line.strip()]
    if sum("|" in line for line in lines) >= 2 or (len(header) > 2 and any("|" in line for line in lines)):
        return _rows_of_table(lines, header)
    if len(header) == 2:
        entries = [entry for line in lines for entry in re.split(r"[,;]|\.(?=\s|$)|\band\b", _BULLET.sub("", line))]
    else:
        entries = [entry for line in lines for entry in line.split(";")]
    rows = []
    for entry in entries:
        if not entry.strip():
            continue
        parts = re.split(r"\s*(?::|=|->|→|\s[-–—]\s|\bis\b|\bhas\b|\bowns\b)\s*", _BULLET.sub("", entry), maxsplit=1)
        if len(parts) != 2:
            return None
        rows.append(
            [plain(parts[0]), *(plain(cell) for cell in (parts[1].split(",") if len(header) > 2 else [parts[1]]))]
        )
    return rows if rows and all(len(row) == len(header) for row in rows) else None


def _rows_of_json(data: Any, header: list[str]) -> list[list[str]] | None:
    if isinstance(data, dict) and isinstance(data.get("rows"), list):
        names = data.get("header", header)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return None
        data = [
            dict(zip(names, row, strict=False)) if isinstance(row, list) and len(row) == len(names) else row
            for row in data["rows"]
        ]
    elif isinstance(data, dict):
        # {"Ava": "cat"}, or {"Ava": {"Pet": "cat", "Colour": "red"}}
        data = [
            {header[0]: name, **cells} if isinstance(cells, dict) else [name, cells] for name, cells in data.items()
        ]
    if not isinstance(data, list):
        return None
    rows = []
    for row in data:
        if isinstance(row, dict):
            by_name = {plain(str(name)): cell for name, cell in row.items()}
            if sorted(by_name) != sorted(header):
                return None
            row = [by_name[name] for name in header]
        if (
            not isinstance(row, list)
            or len(row) != len(header)
            or not all(isinstance(cell, (str, int)) for cell in row)
        ):
            return None
        rows.append([plain(str(cell)) for cell in row])
    return rows


def _rows_of_table(lines: list[str], header: list[str]) -> list[list[str]] | None:
    cells = [[plain(cell) for cell in line.strip().strip("|").split("|")] for line in lines if "|" in line]
    cells = [row for row in cells if not all(re.fullmatch(r"[-: ]*", cell) for cell in row)]
    order = list(range(len(header)))
    if cells and sorted(cells[0]) == sorted(header):
        order = [cells[0].index(name) for name in header]
        cells = cells[1:]
    if not cells or any(len(row) != len(header) for row in cells):
        return None
    return [[row[place] for place in order] for row in cells]


def read_items(answer: str) -> list[str]:
    """Return the items of a list in the order given, plain."""
    data = _json(answer)
    if isinstance(data, list) and all(isinstance(item, (str, int)) for item in data):
        return [plain(str(item)) for item in data]
    parts = re.split(r"\n|,(?:\s*and\b)?|;|->|→|>|\bthen\b|\band\b", answer)
    return [item for item in (plain(_BULLET.sub("", part)) for part in parts) if item]


def _json(answer: str) -> Any:
    """Return the JSON value that `answer` is, fenced or not, or None."""
    text = re.sub(r"^```\w*\s*|\s*```$", "", answer.strip())
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({plain(name) for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)
