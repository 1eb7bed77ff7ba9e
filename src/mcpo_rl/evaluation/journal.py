"""What an evaluation has done so far, on disk: a killed one goes on where it was.

A file of JSON lines beside the result to come: first what is evaluated, then a line per completion and one per verdict,
as they come. Verdicts of status `error` are not taken over: a verifier that failed is asked again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mcpo_rl.errors import RunError
from mcpo_rl.evaluation.generators import Generated
from mcpo_rl.runs.files import write_error
from mcpo_rl.types import Status, Verdict

FREE = ("batch_size",)
"""Settings that may change when an evaluation goes on: they do not change what a completion is drawn from."""


def journal_path(output: Path) -> Path:
    """Return where the evaluation that will be saved to `output` keeps its journal."""
    return output.with_suffix(".partial.jsonl")


class Journal:
    """The journal of one evaluation, opened for writing by one process at a time; a context manager.

    Args:
        path: The file; made where there is none.
        task: What is evaluated (model, settings, problems), plain JSON data. It must be what the file began with.

    Raises:
        RunError: The file belongs to another evaluation, is being written by another process, or cannot be written.
    """

    def __init__(self, path: Path, task: Mapping[str, Any]) -> None:
        self.path = path
        self.generated: dict[int, Generated] = {}
        """By row, what was there when it was opened."""
        self.verdicts: dict[int, Verdict] = {}
        """By row, what was there when it was opened, failures of the verifier left out."""
        wanted = json.loads(json.dumps(task))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
            self._lock()
            self._file.seek(0)
            before, kept = self._read(wanted)
            self._file.truncate(kept)  # what a crash left of the last line
            self._file.seek(kept)
            if not before:
                self._write([{"task": wanted}])
        except OSError as error:
            raise write_error(path, error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add_generated(self, batch: Iterable[tuple[int, Generated]]) -> None:
        """Note completions."""
        self._append(
            {"row": row, "text": done.text, "tokens": done.tokens, "truncated": done.truncated} for row, done in batch
        )

    def add_verdicts(self, verdicts: Iterable[tuple[int, Verdict]]) -> None:
        """Note verdicts."""
        self._append(
            {
                "row": row,
                "status": verdict.status.value,
                "reward": verdict.reward,
                "answer": verdict.answer,
                "detail": verdict.detail,
            }
            for row, verdict in verdicts
        )

    def _append(self, lines: Iterable[dict[str, Any]]) -> None:
        try:
            self._write(lines)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _write(self, lines: Iterable[dict[str, Any]]) -> None:
        # ASCII only: completions may hold what UTF-8 cannot (lone surrogates).
        self._file.write(b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines))
        self._file.flush()

    def _read(self, wanted: Mapping[str, Any]) -> tuple[bool, int]:
        """Take over what the file holds; return whether it holds anything, and how many bytes of it are whole lines."""
        kept, lines, task = 0, 0, None
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                if lines == 1:  # before the first entry: a file without any, such as after a refusal, hinders nobody
                    self._check(task, wanted)
                if not lines:
                    task = dict(entry["task"])
                elif "text" in entry:
                    self.generated[entry["row"]] = Generated(entry["text"], entry["tokens"], entry["truncated"])
                elif entry["status"] != Status.ERROR:
                    row = entry.pop("row")
                    self.verdicts[row] = Verdict(**{**entry, "status": Status(entry["status"])})
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{self.path} is not the journal of an evaluation ({error!r}). Move it away, or start anew with "
                    "--restart."
                ) from error
            kept, lines = kept + len(line), lines + 1
        return (True, kept) if lines > 1 or task == wanted else (False, 0)

    def _check(self, before: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
        old, new = _flat(before or {}), _flat(wanted)
        changed = [
            f"`{name}` was {old.get(name)!r:.80}, now {new.get(name)!r:.80}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and name not in FREE
        ]
        if changed:
            raise RunError(
                f"{self.path} holds an unfinished evaluation of something else: {'; '.join(changed)}. Go on with the "
                "same values, start anew with --restart, or give another --output."
            )

    def _lock(self) -> None:
        """Keep a second process out. File systems without locks go without."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise RunError(
                f"{self.path} is being written by another evaluation. Wait for it, or give another --output."
            ) from error
        except OSError:
            return


def _flat(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task with its settings at the top level."""
    return {**{name: value for name, value in task.items() if name != "settings"}, **dict(task.get("settings", {}))}
