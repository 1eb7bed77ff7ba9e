"""What a training run says of itself in its directory: how it began, what it is made of, how it ended."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mcpo_rl.cli.ranks import LostRankError, SaidByRank0Error, label
from mcpo_rl.config import Recipe
from mcpo_rl.errors import MCPOError, RunError
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.failures import forget_failures
from mcpo_rl.trainers.trl.running.checkpoint import remove_incomplete_checkpoints


@contextlib.contextmanager
def recorded(run: RunDirectory) -> Iterator[None]:
    """Write into the manifest how the block ended, if it did not end well.

    On whichever rank that was: the cause may lie with one that writes nothing else. A rank that only lost its
    connection to that one says so if nobody has said more.
    """
    try:
        yield
    except BaseException as error:
        if run.manifest_file.exists() and not isinstance(error, SaidByRank0Error):
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            # The disk may be full for the manifest too: the first error is the one to report.
            with contextlib.suppress(RunError):
                if not isinstance(error, LostRankError) or run.read_manifest().get("status") == "running":
                    run.write_manifest(status=status, error=f"{label()}{type(error).__name__}: {error}")
        raise


@contextlib.contextmanager
def removed_if_refused(run: RunDirectory, *, active: bool) -> Iterator[None]:
    """Remove a run that was made just now and is refused in the block, before its first step.

    Else the next try, with the mistake mended, would be refused for the directory that this one left behind.
    """
    try:
        yield
    except MCPOError:
        if active:
            with contextlib.suppress(RunError):
                run.write_manifest(status="failed")  # frees the directory
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def created(path: Path, recipe: Recipe, *, resume: bool) -> RunDirectory:
    """Let the main process make the run directory; the others wait for it, and end in silence where it may not.

    Raises:
        RunError: On the main process, for the reasons that `RunDirectory.create` has.
        SaidByRank0Error: On the others.
    """
    state, run = PartialState(), RunDirectory(path)
    refused: list[MCPOError | None] = [None]
    if state.is_main_process:
        try:
            run = RunDirectory.create(path, recipe.to_mapping(), resume=resume)
        except MCPOError as error:
            refused = [error]
    messages = [None if refused[0] is None else str(refused[0])]
    if state.num_processes > 1:
        broadcast_object_list(messages)
    if refused[0] is not None:
        raise refused[0]
    if messages[0] is not None:
        raise SaidByRank0Error(messages[0])
    return run


def begin(run: RunDirectory, recipe: Recipe, data: dict[str, Any], checkpoint: Path | None) -> None:
    """Record what the run is made of, and on a resumed one drop what will be written anew.

    Args:
        run: The run directory.
        recipe: What is run.
        data: The fingerprints of the problems, by split.
        checkpoint: The one to go on from.

    Raises:
        RunError: The run has finished and keeps no checkpoint to go on from.
    """
    facts = run.read_manifest()
    if checkpoint is None and (run.path / "model").is_dir():
        raise RunError(f"{run.path} has finished and keeps no checkpoint to resume from; give another --output_dir.")
    run.truncate_metrics(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    if "data" in facts and facts["data"] != data:
        raise RunError(f"the problems are not those that {run.path} was started with; give another --output_dir.")
    forget_failures(run.path)
    remove_incomplete_checkpoints(run.checkpoints)
    run.write_manifest(
        method=recipe.method,
        seed=recipe.seed,
        model=recipe.model,
        data=data,
        processes=PartialState().num_processes,
    )
