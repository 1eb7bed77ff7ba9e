"""Writing files that are whole or absent, and saying plainly why one could not be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mcpo_rl.errors import RunError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it over `path` when the block ends well, remove it otherwise.

    Raises:
        RunError: The file could not be written (disk full, no permission); `path` is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Same folder: the move is a rename within one file system. A name of its own: two writers never share it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private, a run directory is shared like any other file
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all. Raises `RunError` as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def encodable(text: str) -> str:
    """Replace lone surrogates, which byte-level decoding can leave in a completion and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_error(path: Path, error: OSError) -> RunError:
    """Return the `RunError` that tells why `path` could not be written, and the free space where that is why."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"No space left to write {path} ({_free_space(path)}). Free some space or give another --output_dir; "
            "what was written before is intact, and --resume continues from the last checkpoint."
        )
    return RunError(f"Cannot write {path}: {error.strerror or error}.")


def _free_space(path: Path) -> str:
    folder = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB free on the file system of {folder}"


def _umask() -> int:
    """Return the process's umask; the only way to read it is to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
