"""What each rank of a distributed run leaves behind when it fails, for the other ranks and for people.

<run>/failures/rank_3.txt       its cause in the first line, then where and when, then the traceback
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import encodable, write_text
from mcpo_rl.runs.manifest import now

FOLDER = "failures"


def write_failure(run: Path, rank: int, cause: str, detail: str) -> None:
    """Write why `rank` fails. A run directory that is gone or cannot be written is left as it is.

    Args:
        run: the run directory.
        rank: of this process.
        cause: one line.
        detail: the traceback.
    """
    if not run.is_dir():
        return
    text = f"{' '.join(cause.split())}\nrank {rank}, {socket.gethostname()}, process {os.getpid()}, {now()}\n\n{detail}"
    # The failure itself is what has to be told, not that the disk was too full for this file too.
    with contextlib.suppress(RunError):
        write_text(run / FOLDER / f"rank_{rank}.txt", encodable(text))


def read_failures(run: Path) -> dict[int, str]:
    """Return the cause of every rank that left one, the earliest first."""
    files = [(path.stat().st_mtime_ns, path) for path in (run / FOLDER).glob("rank_*.txt")]
    return {
        int(path.stem.removeprefix("rank_")): path.read_text(encoding="utf-8").partition("\n")[0]
        for _, path in sorted(files)
    }


def forget_failures(run: Path) -> None:
    """Remove what ranks of an earlier attempt left."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
