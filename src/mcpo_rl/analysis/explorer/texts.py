"""Texts of prompts and models as a page can hold them: each once, and long ones without their middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Shown = str | tuple[str, int, str]
"""A text as it is, or its beginning, how many characters are left out, and its end."""

_BEGINNING = 0.6
"""Share of the shown characters that goes to the beginning: the answer stands at the end, the approach at the start."""


def prompt_text(prompt: object) -> str:
    """Return a prompt as one text: the messages under their roles, a single user message without one."""
    if not isinstance(prompt, list):
        return str(prompt)
    if len(prompt) == 1:
        return _content(prompt[0])
    return "\n\n".join(f"[{message.get('role', '')}]\n{_content(message)}" for message in prompt)


def shortened(text: str, most: int) -> Shown:
    """Return `text`, or its beginning and its end where it has more than `most` characters.

    Example:
        >>> shortened("0123456789", 5)
        ('012', 5, '89')
    """
    if len(text) <= most:
        return text
    first = round(most * _BEGINNING)
    return text[:first], len(text) - most, text[len(text) - (most - first) :]


class TextTable:
    """Texts by number, each kept once: the rollouts of a prompt share it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        """Return the number of `text`."""
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


def all_shortened(texts: Sequence[str], most: int) -> list[Shown]:
    """Return every one of `texts` shortened to `most` characters."""
    return [shortened(text, most) for text in texts]


def _content(message: dict[str, Any]) -> str:
    content = message.get("content", "")
    return content if isinstance(content, str) else str(content)
