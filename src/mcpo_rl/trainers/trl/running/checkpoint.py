"""Checkpoints that are whole or absent: our state file is written last and marks one as complete."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mcpo_rl.errors import CheckpointError
from mcpo_rl.trainers.trl.running.lost_rank import is_lost_connection

STATE_FILE = "mcpo_state.pt"
"""In every checkpoint that `MCPOTrainer` completed, also with the contrastive term off."""

_NAME = re.compile(r"checkpoint-(\d+)")
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG}
_DISK_PHRASES = ("no space left", "quota exceeded", "pytorchstreamwriter failed", "file write failed", "unexpected pos")


def find_last_complete_checkpoint(directory: str | Path) -> Path | None:
    """Return the `checkpoint-N` with the largest N in `directory` that was written to its end; None without one."""
    directory = Path(directory)
    if not directory.is_dir():
        return None
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    complete = [(step, path) for step, path in found if (path / STATE_FILE).is_file()]
    return max(complete)[1] if complete else None


def remove_incomplete_checkpoints(directory: str | Path) -> None:
    """Remove every `checkpoint-N` in `directory` that was not written to its end, as a killed run leaves it."""
    for path in Path(directory).glob("checkpoint-*"):
        if _NAME.fullmatch(path.name) and path.is_dir() and not (path / STATE_FILE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def write_state(checkpoint: Path, state: dict[str, Any]) -> None:
    """Write the state file, in one move: it is there in full or not at all."""
    temporary = checkpoint / f".{STATE_FILE}.tmp"
    torch.save(state, temporary)
    os.replace(temporary, checkpoint / STATE_FILE)


def read_state(checkpoint: str | Path, device: torch.device) -> dict[str, Any]:
    """Return the state file's content, with its tensors on `device`.

    Raises:
        CheckpointError: it is missing (the checkpoint is incomplete or another trainer's) or damaged.
    """
    path = Path(checkpoint) / STATE_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{checkpoint} has no {STATE_FILE}: it was not written to its end, or not by MCPOTrainer. Resume from "
            "another checkpoint; to start a new run from these weights, pass the directory as the model."
        )
    # torch knows no `cpu:0`, which a rank on the CPU is called.
    place = torch.device("cpu") if device.type == "cpu" else device
    try:  # a damaged file shows in any of these ways
        state: dict[str, Any] = torch.load(path, map_location=place, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Resume from another checkpoint.") from error
    return state


@contextmanager
def whole_or_absent(checkpoint: Path, *, owner: bool) -> Iterator[None]:
    """Turn a failing disk while `checkpoint` is written into one clear error, and remove what was half-written.

    The main process removes it too when another rank ends meanwhile, whose disk may be the one that is full.

    Args:
        checkpoint: the directory that is being written.
        owner: whether this process may remove it (the main process).

    Raises:
        CheckpointError: the disk is full, over quota, read-only or broken. Other errors pass through.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        on_disk = _is_disk_failure(error)
        if owner and (on_disk or is_lost_connection(error)):
            shutil.rmtree(checkpoint, ignore_errors=True)
        if not on_disk:
            raise
        parent = next(path for path in (checkpoint, *checkpoint.parents) if path.exists())
        free = shutil.disk_usage(parent).free / 2**20
        last = find_last_complete_checkpoint(checkpoint.parent)
        kept = f"the last complete one is {last}" if last else "there is no earlier one"
        raise CheckpointError(
            f"The checkpoint {checkpoint} could not be written ({error}); {free:,.1f} MiB are free there. What was "
            f"half-written is removed; {kept}. Free some space (or set save_total_limit, or another output_dir) and "
            "resume."
        ) from error


def _is_disk_failure(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return True
    return any(phrase in str(error).lower() for phrase in _DISK_PHRASES)
