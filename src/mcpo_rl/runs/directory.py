"""One run on disk: created, resumed, written while training, read afterwards."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from mcpo_rl.errors import RunError, nearest
from mcpo_rl.runs import metrics as metrics_log
from mcpo_rl.runs.agreement import describe, differences
from mcpo_rl.runs.batch import RolloutBatch, count_rows, read_batch, write_batch
from mcpo_rl.runs.files import replacing, write_error, write_text
from mcpo_rl.runs.manifest import STATUSES, now, plain, starting_facts

logger = logging.getLogger(__name__)

_locks: dict[Path, IO[bytes]] = {}
"""Runs that this process is writing: the operating system frees a lock when its process ends, however it ends."""


class RunDirectory:
    """A run directory; see the package's docstring for its layout.

    `create` is for the one process that writes (the main process of a distributed run), `open` for readers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.manifest_file = path / "manifest.json"
        self.metrics_file = path / "metrics.jsonl"
        self.rollouts = path / "rollouts"
        self.checkpoints = path / "checkpoints"
        self.eval_file = path / "eval.json"
        """The evaluation after training."""
        self.start_eval_file = path / "eval_start.json"
        """The evaluation of the model that training started from, on the same problems."""
        self.remarks: list[str] = []
        """What the readers of this object had to skip (a line cut short by a crash), for people."""

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], resume: bool = False) -> RunDirectory:
        """Start a run in `path`, or with `resume` go on with the one that is there (or start it, if there is none).

        Resuming asks for the same `config`, except for keys that do not change what earlier steps did
        (`mcpo_rl.runs.agreement.CHANGEABLE`); what changed among those is recorded in the manifest under `resumed`.

        Raises:
            RunError: `path` holds another run, holds something that is not a run, is being written by another process,
                cannot be written, or its config differs from the one given.
        """
        run = cls(Path(path))
        wanted: dict[str, Any] = plain(config)
        if run.path.exists() and not run.path.is_dir():
            raise RunError(f"{run.path} is a file, not a directory. Give another --output_dir.")
        exists = run.manifest_file.exists()
        if (
            not exists
            and run.path.is_dir()
            and (strangers := sorted(item.name for item in run.path.iterdir() if item.name != ".lock"))
        ):
            raise RunError(
                f"{run.path} is not a run directory: it has no manifest.json, but holds {', '.join(strangers[:3])}"
                f"{', ...' if len(strangers) > 3 else ''}. Give an empty or new --output_dir."
            )
        if exists and not resume:
            raise RunError(
                f"{run.path} already holds a run ({run.summary()}). "
                "Continue it with --resume, or give another --output_dir."
            )
        changed = run._allowed_changes(wanted) if exists else {}
        run._lock()
        if exists:
            run._record_resume(wanted, changed)
        else:
            run.write_manifest(**starting_facts())
            write_text(run.config_file, _yaml(wanted))
        try:
            run.rollouts.mkdir(exist_ok=True)
            run.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(run.path, error) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open a run for reading; it may be half-written or still running.

        Raises:
            RunError: There is no run at `path`.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            names = [item.name for item in run.path.parent.iterdir()] if run.path.parent.is_dir() else []
            raise RunError(f"There is no run directory {run.path}.{nearest(run.path.name, names)}")
        if not (run.manifest_file.exists() or run.metrics_file.exists() or run.config_file.exists()):
            inside = sorted(item.parent.name for item in run.path.glob("*/manifest.json"))
            hint = f" It holds runs: {', '.join(inside[:5])}." if inside else ""
            raise RunError(
                f"{run.path} is not a run directory: it has no manifest.json, config.yaml or metrics.jsonl.{hint}"
            )
        return run

    # -- the facts -----------------------------------------------------------------------------------------------------

    def write_manifest(self, **facts: Any) -> None:
        """Merge `facts` into manifest.json. A `status` other than `running` also sets `ended` and frees the directory.

        Well-known facts: `status` (running, finished, interrupted, failed), `method`, `seed`, `model`,
        `data` (`data_fingerprint`s by split). Others are kept as they are.

        Raises:
            RunError: `status` is not one of the four, or the file could not be written.
        """
        status = facts.get("status", "running")
        if status not in STATUSES:
            raise RunError(f"The status of a run is one of {', '.join(STATUSES)}, not {status!r}.")
        merged = {**self.read_manifest(), **plain(facts)}
        if status != "running":
            merged["ended"] = facts.get("ended", now())
        write_text(self.manifest_file, json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
        if status != "running":
            self._unlock()

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; empty where there is none.

        Raises:
            RunError: The file is damaged.
        """
        if not self.manifest_file.exists():
            return {}
        try:
            facts = json.loads(self.manifest_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{self.manifest_file} is damaged ({error}).") from error
        return facts if isinstance(facts, dict) else {}

    def read_config(self) -> dict[str, Any]:
        """Return the config; empty where there is none.

        Raises:
            RunError: The file is not YAML.
        """
        if not self.config_file.exists():
            return {}
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise RunError(f"{self.config_file} is damaged ({error}).") from error
        return config if isinstance(config, dict) else {}

    def summary(self) -> str:
        """Return one phrase about the run for messages: its method, status, start and last logged step."""
        facts = self.read_manifest()
        step = metrics_log.last_step(self.read_metrics())
        parts = [
            facts.get("method"),
            facts.get("status", "status unknown"),
            f"started {facts.get('started', 'at an unknown time')}",
        ]
        parts.append("no step logged" if step is None else f"step {step} logged")
        return ", ".join(str(part) for part in parts if part)

    # -- metrics -------------------------------------------------------------------------------------------------------

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Append one JSON object to metrics.jsonl and flush it. Numbers that JSON lacks (NaN, infinities) become null.

        Args:
            metrics: Must have `step`, the number of optimizer steps done; everything else is the trainer's.

        Raises:
            RunError: `step` is missing, or the line could not be written; then no part of it stays behind.
        """
        metrics_log.require_step(metrics)
        metrics_log.append(self.metrics_file, metrics)

    def truncate_metrics(self, step: int) -> None:
        """Remove what a run resumed at `step` writes anew (later lines, later rollouts), and lines cut by a crash."""
        if self.metrics_file.exists():
            kept = [row for row in self.read_metrics() if not (isinstance(row.get("step"), int) and row["step"] > step)]
            write_text(self.metrics_file, b"".join(metrics_log.encode(row) for row in kept).decode("utf-8"))
        for number, path in self._rollout_files():
            if number > step:
                path.unlink()

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl in their order; unreadable ones are skipped and told in `remarks`."""
        if not self.metrics_file.exists():
            return []
        rows, broken = metrics_log.read(self.metrics_file)
        if broken:
            self._remark(
                f"{self.metrics_file}: skipped {len(broken)} unreadable line(s), the first is line {broken[0]}."
            )
        return rows

    # -- rollouts ------------------------------------------------------------------------------------------------------

    def write_rollouts(self, batch: RolloutBatch) -> Path:
        """Write `batch` to `rollouts/step_000010.parquet`, in place of an earlier one of that step; return the path.

        Raises:
            RunError: The file could not be written; nothing of it stays behind.
        """
        path = self._rollout_file(batch.step)
        with replacing(path) as temporary:
            write_batch(batch, temporary)
        return path

    def rollout_steps(self) -> list[int]:
        """Return the steps whose rollouts were kept, ascending."""
        return [step for step, _ in self._rollout_files()]

    def rollout_count(self, step: int) -> int:
        """Return how many rollouts of `step` were kept, without reading them.

        Raises:
            RunError: They were not kept or cannot be read.
        """
        return count_rows(self._rollouts_of(step))

    def read_rollouts(self, step: int | None = None) -> list[RolloutBatch]:
        """Return the kept rollouts of one step, or of all in order; damaged files are skipped and told in `remarks`.

        Raises:
            RunError: `step` is given and its rollouts were not kept or cannot be read.
        """
        if step is not None:
            return [read_batch(self._rollouts_of(step))]
        batches = []
        for _, path in self._rollout_files():
            try:
                batches.append(read_batch(path))
            except RunError as error:
                self._remark(f"Skipped: {error}")
        return batches

    # -- inside --------------------------------------------------------------------------------------------------------

    def _rollout_files(self) -> list[tuple[int, Path]]:
        found = [(path.stem.removeprefix("step_"), path) for path in self.rollouts.glob("step_*.parquet")]
        return sorted((int(number), path) for number, path in found if number.isdigit())

    def _rollout_file(self, step: int) -> Path:
        return self.rollouts / f"step_{step:06d}.parquet"

    def _rollouts_of(self, step: int) -> Path:
        path = self._rollout_file(step)
        if path.exists():
            return path
        files = self._rollout_files()
        kept = ", ".join(str(number) for number, _ in files[:12]) or "none"
        more = ", ..." if len(files) > 12 else ""
        raise RunError(f"{self.path} keeps no rollouts of step {step}; steps kept: {kept}{more}.")

    def _allowed_changes(self, config: dict[str, Any]) -> dict[str, list[Any]]:
        """Return what differs from the config on disk and may; raise `RunError` if something differs that may not."""
        before = self.read_config()
        blocking, allowed = differences(before, config) if before else ({}, {})
        if blocking:
            raise RunError(
                f"{self.path} holds a run with another config: {describe(blocking)}. Resume with the same values, "
                "or give another --output_dir."
            )
        return allowed

    def _record_resume(self, config: dict[str, Any], changed: dict[str, list[Any]]) -> None:
        step = metrics_log.last_step(self.read_metrics())
        again = {**starting_facts(), "step": step, "changed": changed}
        self.write_manifest(status="running", ended=None, resumed=[*self.read_manifest().get("resumed", []), again])
        write_text(self.config_file, _yaml(config))

    def _lock(self) -> None:
        """Keep a second process from writing the same run. File systems without locks go without."""
        key = self.path.absolute()
        if key in _locks or sys.platform == "win32":
            return
        import fcntl

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("ab")
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise RunError(
                f"{self.path} is being written by another process. Wait for it, or give another --output_dir."
            ) from error
        except OSError as error:
            logger.info("%s: no lock on this file system (%s)", self.path, error)
        _locks[key] = file

    def _unlock(self) -> None:
        if file := _locks.pop(self.path.absolute(), None):
            file.close()

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)
            logger.warning("%s", text)


def _yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
