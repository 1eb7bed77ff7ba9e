"""The training data of a recipe, and what the run directory records of it.

Imported inside the commands only: it loads `datasets`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from mcpo_rl.data import load_problems, open_dataset, to_dataset
from mcpo_rl.data.build import Manifest
from mcpo_rl.data.sources.built import is_built
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.runs.manifest import data_fingerprint
from mcpo_rl.types import Problem

_CHOOSING = ("limit", "shuffle_seed", "answer_format")
"""Keys of an entry with which the rows of a built directory are read as any others."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The rows to train on."""

    dataset: Dataset
    """Columns prompt, domain, reference, id, source, difficulty."""
    fingerprint: dict[str, Any]
    """As `mcpo_rl.runs.manifest.data_fingerprint` returns it; where there are built directories among the sources, the
    SHA-256 is one over those of the sources."""


def training_data(entries: Sequence[Mapping[str, Any]], domains: Sequence[str] | None = None) -> TrainingData:
    """Open the sources one after the other.

    Directories that `mcpo-rl data build` made are memory-mapped, and what their manifests say of them is believed; all
    others are read and checked row by row.

    Args:
        entries: The recipe's `problems`.
        domains: The recipe's `domains`: keep the rows of these alone; None keeps all.

    Raises:
        ConfigError: A domain of `domains` that the sources do not have.
        ProblemError: A source that cannot be read, or no source.
        UnknownDomainError: A domain that no verifier is known for.
    """
    parts: list[Dataset] = []
    read: list[Problem] = []
    facts: list[dict[str, Any]] = []
    for entry in entries:
        if is_mapped(entry):
            parts.append(open_dataset([entry]))
            facts.append(_built_fingerprint(entry))
        else:
            problems = load_problems(entry)
            parts.append(to_dataset(problems))
            facts.append(data_fingerprint(problems))
            read += problems
    mapped = any(is_mapped(entry) for entry in entries)
    data = TrainingData(
        dataset=concatenate_datasets(parts) if parts else open_dataset(entries),
        fingerprint=_joined(facts) if mapped else data_fingerprint(read),
    )
    return data if domains is None else _of_domains(data, domains)


def is_mapped(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a built directory whose rows are taken as they lie there."""
    return "path" in entry and is_built(Path(entry["path"]).expanduser()) and not any(map(entry.get, _CHOOSING))


def _of_domains(data: TrainingData, domains: Sequence[str]) -> TrainingData:
    """Return the rows of `domains`, in their order."""
    column = data.dataset["domain"][:]
    known = sorted(set(column))
    unknown = next((name for name in domains if name not in known), None)
    if unknown is not None or not domains:
        what = "is empty" if not domains else f"names `{unknown}`, of which there is no problem"
        raise ConfigError(
            f"`domains` {what}; the problems are of {', '.join(known)}.{nearest(unknown or '', known)} Leave `domains` "
            "out to train on all."
        )
    rows = [row for row, domain in enumerate(column) if domain in domains]
    chosen = sorted(set(domains))
    digest = hashlib.sha256(f"{data.fingerprint['sha256']} {json.dumps(chosen)}".encode())
    counts = {name: count for name, count in data.fingerprint["domains"].items() if name in chosen}
    fingerprint = {"problems": len(rows), "domains": counts, "sha256": digest.hexdigest()}
    return TrainingData(dataset=data.dataset.select(rows), fingerprint=fingerprint)


def _built_fingerprint(entry: Mapping[str, Any]) -> dict[str, Any]:
    facts = Manifest.read(Path(entry["path"]).expanduser()).splits[entry.get("split") or "train"]
    domains = {domain: told["rows"] for domain, told in sorted(facts["domains"].items())}
    return {"problems": facts["rows"], "domains": domains, "sha256": facts["fingerprint"]}


def _joined(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(facts) == 1:
        return dict(facts[0])
    domains: dict[str, int] = {}
    for part in facts:
        for domain, count in part["domains"].items():
            domains[domain] = domains.get(domain, 0) + count
    digest = hashlib.sha256("".join(part["sha256"] for part in facts).encode())
    return {
        "problems": sum(domains.values()),
        "domains": dict(sorted(domains.items())),
        "sha256": digest.hexdigest(),
    }
