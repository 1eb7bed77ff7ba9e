"""Checks of single fields of a configuration; each refusal is a `ConfigError` that names the field and its value."""

from __future__ import annotations

import math
from typing import Any

from mcpo_rl.errors import ConfigError, nearest


def check_number(config: Any, name: str, *, above: float = -math.inf, at_least: float = -math.inf, advice: str) -> None:
    """Refuse a field that is no finite number > `above` and >= `at_least`."""
    value = getattr(config, name)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or value <= above or value < at_least:
        bound = f" > {above:g}" if above > -math.inf else f" >= {at_least:g}" if at_least > -math.inf else ""
        raise ConfigError(f"{name} is {value!r}; expected a finite number{bound} ({advice}).")


def check_count(config: Any, name: str, *, least: int, advice: str) -> None:
    """Refuse a field that is no whole number >= `least`."""
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number >= {least} ({advice}).")


def check_choice(config: Any, name: str, valid: tuple[str, ...]) -> None:
    """Refuse a field that is none of the words in `valid`."""
    value = getattr(config, name)
    if value not in valid:
        names = ", ".join(f"`{choice}`" for choice in valid)
        raise ConfigError(f"{name} is {value!r}; expected one of {names}.{nearest(str(value), valid)}")
