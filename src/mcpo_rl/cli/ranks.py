"""When one of several ranks fails: its cause is said once and clearly, and the other ranks end with one line each.

A rank that raises ends its process, and every other rank soon finds its connection closed. Left alone, all of them
print long tracebacks that say nothing, over the one that does. So the rank with the cause leaves it in the run
directory (`mcpo_rl.runs.failures`) and with the launcher, and the others report that one.

Imports torch only where a process group exists.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from mcpo_rl.errors import MCPOError, RunError
from mcpo_rl.runs.failures import read_failures, write_failure

SAME_CAUSE_S = 1.0
"""Seconds in which rank 0 fails for the same reason, if all ranks do; the others then need not repeat it."""

LET_GO_S = 0.2
"""Seconds in which threads that still run let go of what they have finished."""

_TIMED_OUT = re.compile(r"timed? ?out", re.IGNORECASE)


class LostRankError(RunError):
    """Another rank has ended or does not answer. Not this rank's failure; exit status 1, not 2."""


class SaidByRank0Error(MCPOError):
    """Rank 0 fails for the same reason and says so: nothing is left to say."""


def rank() -> int:
    """Return this process's number among the ranks of a distributed run, as its launcher says; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def number_of_ranks() -> int:
    """Return how many ranks the launcher has started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def label() -> str:
    """Return `rank 3: ` for messages of one of several ranks, else nothing."""
    return f"rank {rank()}: " if number_of_ranks() > 1 else ""


@contextlib.contextmanager
def failing_with_one_cause(run: Path | None, ddp_timeout: float) -> Iterator[None]:
    """Leave the cause where the others find it, or, if the cause lies with another rank, say which.

    Args:
        run: the run directory; None until it is known to be this run's.
        ddp_timeout: seconds after which a rank gives another one up, for the message.

    Raises:
        LostRankError: in the place of the communication's own error, when another rank has ended or hangs.
        SaidByRank0Error: in the place of a mistake's message that rank 0 has too.
    """
    try:
        yield
    except BaseException as error:
        if number_of_ranks() == 1 or isinstance(error, SystemExit):
            raise
        if _is_lost_connection(error):
            lost = LostRankError(_about_the_others(error, run, ddp_timeout))
            if run is not None:
                write_failure(run, rank(), str(lost), "".join(traceback.format_exception(error)))
            raise lost from error
        if run is not None:
            write_failure(run, rank(), describe(error), "".join(traceback.format_exception(error)))
            if isinstance(error, MCPOError) and rank() > 0 and _rank_0_has(describe(error), run):
                raise SaidByRank0Error(str(error)) from error
        raise


def describe(error: BaseException) -> str:
    """Return one line: a message of ours as it is, another exception with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, MCPOError):
        return text
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def let_rank_0_speak() -> None:
    """Wait where ranks other than 0 fail before they know of each other, as they all do at a mistake in the recipe.

    If rank 0 fails too, its launcher ends this process meanwhile.
    """
    distributed = sys.modules.get("torch.distributed")
    if rank() > 0 and (distributed is None or not distributed.is_initialized()):
        time.sleep(SAME_CAUSE_S)


def prepare_to_leave_group() -> None:
    """Make sure that `leave_group` can end the group's threads; before there is a group.

    The functions of this module of torch have the group as a default argument, taken when it is first imported: DDP
    imports it when there is one, which then lives as long as the interpreter.
    """
    if number_of_ranks() == 1:
        return
    import torch.distributed

    if torch.distributed.is_available():
        import torch.distributed.nn.functional


def leave_group() -> None:
    """End this rank's process group and its threads, at the end of what went well; nothing where there is none.

    Left to the interpreter's own end, a thread of gloo that still lets go of its last tensors aborts the process, and
    the launcher calls a run failed that has finished.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    distributed.destroy_process_group()
    gc.collect()  # models and trainers hold the group too, in circles
    time.sleep(LET_GO_S)  # FSDP2's meshes keep it, and so its threads, to the end


def tell_launcher(error: BaseException) -> None:
    """Leave one line with torchrun (or `accelerate launch`), which shows it as the root cause after all else."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not place or isinstance(error, SystemExit):
        return
    # It takes the earliest, in whole seconds: the cause must come before those that it brought down.
    moment = int(time.time()) + (1 if isinstance(error, LostRankError) else -1)
    line = f"{describe(error)} (the traceback is above)" if not isinstance(error, MCPOError) else describe(error)
    content = {"message": {"message": f"mcpo-rl: {label()}{line}", "extraInfo": {"timestamp": str(moment)}}}
    with contextlib.suppress(OSError):  # no room for it: what was printed stands
        Path(place).write_text(json.dumps(content), encoding="utf-8")


def _is_lost_connection(error: BaseException) -> bool:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return False
    from mcpo_rl.trainers.trl.running.lost_rank import is_lost_connection

    return is_lost_connection(error)


def _rank_0_has(cause: str, run: Path) -> bool:
    """Whether rank 0 fails with the same message; a run that it has removed was refused by it."""
    deadline = time.monotonic() + SAME_CAUSE_S
    while (known := read_failures(run).get(0)) is None and run.is_dir() and time.monotonic() < deadline:
        time.sleep(0.02)
    return known == cause or not run.is_dir()


def _about_the_others(error: BaseException, run: Path | None, ddp_timeout: float) -> str:
    causes = {} if run is None else read_failures(run)
    causes.pop(rank(), None)
    if causes:
        other, cause = next(iter(causes.items()))
        place = run / "failures" / f"rank_{other}.txt" if run else ""
        return f"ended because rank {other} failed: {textwrap.shorten(cause, 100, placeholder=' ...')} (see {place})"
    where = "" if run is None else f" A rank that hangs writes no {run / 'failures'}/rank_N.txt; the others do."
    if _TIMED_OUT.search(str(error)):
        return (
            f"another rank did not answer within {ddp_timeout:g} s (ddp_timeout): it hangs, or its step takes longer "
            f"than that.{where} --resume continues from the last complete checkpoint."
        )
    return (
        "ended because another rank is gone without a word: it was killed (often for memory: see dmesg or the "
        "scheduler's log), or its message stands above. --resume continues from the last complete checkpoint."
    )
