"""Whether a run may be resumed with a config: which differences matter."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from mcpo_rl.runs.manifest import plain

CHANGEABLE = (
    "max_steps",
    "num_train_epochs",
    "output_dir",
    "run_name",
    "report_to",
    "log_*",
    "logging_*",
    "save_*",
    "eval_*",
    "do_eval",
    "disable_tqdm",
    "push_to_hub*",
    "hub_*",
    "resume_from_checkpoint",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "ddp_timeout",
    "dataloader_num_workers",
    "vllm_gpu_memory_utilization",
    "min_level",
    "remote",
    "remote_concurrency",
)
"""Keys (last part of their dotted path) that a resumed run may change: they touch no step that was already done.

`max_steps` and `num_train_epochs` are among them so that a run can be made longer. A learning-rate schedule that decays
to the end is stretched by that: such a run is not the one that an uninterrupted longer run would have been. The batch
sizes are, so that a run can go on with another number of ranks: the checkpoint itself tells what the batches were over
all ranks, and is refused where they would be other ones.
"""

_ABSENT = "(not set)"


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Compare two configs key by key.

    Args:
        before: The config of the run on disk.
        after: The config asked for now.

    Returns:
        Differences that forbid to resume and those that do not (`CHANGEABLE`), each `{dotted key: [before, after]}`.
    """
    old, new = _flatten(plain(before)), _flatten(plain(after))
    blocking: dict[str, list[Any]] = {}
    harmless: dict[str, list[Any]] = {}
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if was != now:
            changeable = any(fnmatch(key.rpartition(".")[2], pattern) for pattern in CHANGEABLE)
            (harmless if changeable else blocking)[key] = [was, now]
    return blocking, harmless


def describe(changes: Mapping[str, list[Any]], most: int = 6) -> str:
    """Return the changes as one phrase: '`learning_rate` was 1e-05, now 0.0001; ...'."""
    shown = [f"`{key}` was {was!r}, now {now!r}" for key, (was, now) in list(changes.items())[:most]]
    return "; ".join(shown) + (f"; and {len(changes) - most} more" if len(changes) > most else "")


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings and lists as `{dotted path: leaf}`; empty ones are leaves."""
    items: list[tuple[str, Any]]
    if isinstance(value, Mapping) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in items:
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
