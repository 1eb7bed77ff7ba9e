"""The facts about a run: who made it, with what, on what, and how it ended."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

from mcpo_rl.types import Problem

STATUSES = ("running", "finished", "interrupted", "failed")
PACKAGES = ("mcpo-rl", "torch", "trl", "transformers", "accelerate", "datasets", "peft", "vllm", "deepspeed", "numpy")
SECRETS = ("hub_token", "*api_key", "*password", "*secret", "*_access_token")
"""Keys whose values never reach the run directory: runs are shared."""


def starting_facts() -> dict[str, Any]:
    """Return what is known when a run starts: versions (without importing the packages), machine, commit, command."""
    return {
        "status": "running",
        "started": now(),
        "ended": None,
        "command": without_secrets(sys.argv),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "git": git_state(Path.cwd()),
    }


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that `folder` is at and whether tracked files differ; None without a repository or git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def data_fingerprint(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return how many problems there are, in all and of each domain, and a SHA-256 over what defines them.

    Two runs with the same fingerprint were given the same problems in the same order.
    """
    digest = hashlib.sha256()
    domains: dict[str, int] = {}
    for problem in problems:
        domains[problem.domain] = domains.get(problem.domain, 0) + 1
        row = [problem.domain, problem.prompt, problem.reference]
        digest.update(json.dumps(row, sort_keys=True, default=str).encode("utf-8", "replace") + b"\n")
    return {"problems": sum(domains.values()), "domains": dict(sorted(domains.items())), "sha256": digest.hexdigest()}


def plain(value: Any) -> Any:
    """Return `value` as plain JSON and YAML data: paths and other objects as text, tuples as lists, secrets hidden."""
    if isinstance(value, Mapping):
        return {str(key): "(hidden)" if is_secret(str(key)) and item else plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | str):  # an enum or a NumPy float is a subclass that YAML would not write plainly
        return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))
    if callable(getattr(value, "item", None)):  # a NumPy or torch scalar
        return value.item()
    return str(value)


def is_secret(key: str) -> bool:
    """Tell whether `key` names something that must not be written down."""
    return any(fnmatch(key.lower(), pattern) for pattern in SECRETS)


def without_secrets(arguments: Iterable[str]) -> list[str]:
    """Return a command line with the values of secret options (`--hub_token X`, `--hub_token=X`) hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = argument.startswith("-") and is_secret(name.lstrip("-").replace("-", "_").rpartition(".")[2])
        shown.append("(hidden)" if hide_next else f"{name}=(hidden)" if secret and equals else argument)
        hide_next = secret and not equals
    return shown


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git, or a repository on a file system that hangs
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
