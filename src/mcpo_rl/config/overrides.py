"""The words of a command line and the YAML dialect that recipes are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from mcpo_rl.config.fields import describe
from mcpo_rl.errors import ConfigError


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Read `--key value` and `--key=value`; values are YAML, hyphens in keys count as underscores.

    Returns:
        Dotted key to value, for instance `{"max_steps": 20, "peft.r": 8}`.

    Raises:
        ConfigError: A word that is no key, a key without a value, a value that is no YAML.
    """
    changes: dict[str, Any] = {}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise ConfigError(f"cannot read `{word}` as an override: write `--key value` or `--key=value`.")
        key, has_value, text = word[2:].partition("=")
        if not has_value:
            if not remaining or remaining[0].startswith("--"):
                raise ConfigError(f"`--{key}` has no value: write `--{key} value` (for a switch `--{key} true`).")
            text = remaining.pop(0)
        changes[key.replace("-", "_")] = parse_yaml(text, where=f"`--{key}`")
    return changes


def assign(content: dict[str, Any], dotted_key: str, value: Any) -> None:
    """Set one value in nested mappings and lists, in place; mappings on the way are made where they are missing.

    Raises:
        ConfigError: The way leads through a plain value or past the end of a list.
    """
    *parents, last = dotted_key.split(".")
    place: Any = content
    for depth, part in enumerate(parents, start=1):
        if isinstance(place, list):
            place = place[_position(place, part, dotted_key)]
        else:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        if not isinstance(place, dict | list):
            trail = ".".join(parents[:depth])
            raise ConfigError(f"`--{dotted_key}`: `{trail}` is {describe(place)}, it has no parts to set.")
    place[_position(place, last, dotted_key) if isinstance(place, list) else last] = value


def parse_yaml(text: str, *, where: str) -> Any:
    """Read YAML with YAML 1.2's plain scalars: `1e-4` is a number and `no` is a word.

    Raises:
        ConfigError: Not valid YAML, or a key that stands twice; the message begins with `where`.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def _position(items: list[Any], part: str, dotted_key: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise ConfigError(f"`--{dotted_key}`: `{part}` is no position in a list of {len(items)} (the first is 0).")
    return int(part)


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key which stands twice: the first value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"`{key_node.value}` twice", key_node.start_mark)
            if isinstance(key_node.value, str) and key_node.value != "<<":
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# PyYAML reads YAML 1.1, where `1e-4` is a text and `no` is false: a learning rate that breaks far from where it was
# written, and a `save_strategy: no` that is no strategy. YAML 1.2's resolvers stand in for its own; dates stay text.
_NUMBERS = "-+0123456789."
_RESOLVERS = [
    ("tag:yaml.org,2002:bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", "[-+]?(?:0|[1-9][0-9]*)", _NUMBERS),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan",
        _NUMBERS,
    ),
]
_REPLACED = {"tag:yaml.org,2002:timestamp", *(tag for tag, _, _ in _RESOLVERS)}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
