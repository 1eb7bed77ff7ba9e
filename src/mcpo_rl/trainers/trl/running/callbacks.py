"""Callbacks of a training run: a graceful Ctrl-C, checkpoints that resume exactly, metrics to the run directory."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Handler = Callable[[int, FrameType | None], Any] | int | None

ECHO_S = 2.0
"""A launcher (torchrun, accelerate launch) that gets Ctrl-C sends it to its ranks, which the terminal has told already:
under one, a second signal within so many seconds is the first one's echo."""


class GenerationAlignment(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
    """Holds a due checkpoint back until the rollouts of the generation batch are used up.

    Where one generation batch feeds several optimizer steps, a checkpoint in between would lose the rollouts that are
    left: the resumed run would draw new ones and part from the uninterrupted run.

    Args:
        at_boundary: whether the next step generates anew.
    """

    def __init__(self, at_boundary: Callable[[], bool]) -> None:
        self._at_boundary = at_boundary
        self._due = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Move a save to the next boundary; the last save of a run is not moved."""
        if self._at_boundary():
            control.should_save, self._due = control.should_save or self._due, False
        elif control.should_save and not control.should_training_stop:
            control.should_save, self._due = False, True
        return control


class InterruptCallback(TrainerCallback):  # type: ignore[misc]
    """Ctrl-C ends training with a checkpoint from which `resume` continues exactly; a second Ctrl-C ends it at once.

    With several ranks, the signal may reach one of them or all: they stop together, at the same step.

    Pass it among the trainer's callbacks. After `trainer.train()` returned, `interrupted` says whether it was cut short
    (a command then exits with 130).

    Args:
        notify: told one line when the first Ctrl-C arrives.
    """

    def __init__(self, notify: Callable[[str], None] | None = None) -> None:
        self.interrupted = False
        self._asked = False
        self._asked_at = 0.0
        self._notify = notify
        self._at_boundary: Callable[[], bool] = lambda: True
        self._previous: Handler = None
        self._installed = False

    def bind(self, at_boundary: Callable[[], bool]) -> None:
        """Tell when a checkpoint resumes exactly; the trainer does this."""
        self._at_boundary = at_boundary

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over SIGINT (only the main thread may)."""
        self.interrupted = self._asked = False
        if threading.current_thread() is threading.main_thread() and not self._installed:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Save and stop, once asked to, where the next step would generate anew."""
        if self._anyone_asked(args.device) and self._at_boundary():
            # At the last step training ends anyway; it was not cut short.
            self.interrupted = state.global_step < state.max_steps
            control.should_save = control.should_training_stop = True
        return control

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give SIGINT back."""
        self.restore()

    def restore(self) -> None:
        """Give SIGINT back to whoever had it; the trainer also does this when training ends in an error."""
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            if _under_launcher() and time.monotonic() - self._asked_at < ECHO_S:
                return
            self.restore()
            raise KeyboardInterrupt
        self._asked, self._asked_at = True, time.monotonic()
        if self._notify is not None:
            self._notify(
                "Stopping after this step with a checkpoint (Ctrl-C again stops at once)."
                + (f" The launcher waits 30 s for it; for longer steps: kill -INT {os.getpid()}" * _under_launcher())
            )

    def _anyone_asked(self, device: torch.device) -> bool:
        # The signal reaches the ranks at different times; they have to stop at the same step.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            asked = torch.tensor(float(self._asked), device=device)
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
            return bool(asked.item())
        return self._asked


def _under_launcher() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


class MetricsDirectory(Protocol):
    """The part of `mcpo_rl.runs.RunDirectory` that metrics are written through."""

    def append_metrics(self, metrics: dict[str, Any]) -> None:
        """Append one line."""

    def truncate_metrics(self, step: int) -> None:
        """Remove the lines after `step`."""


class RunMetricsCallback(TrainerCallback):  # type: ignore[misc]
    """Writes every log line of the main process to the run directory's metrics.jsonl.

    Args:
        run_directory: a `mcpo_rl.runs.RunDirectory`.
    """

    def __init__(self, run_directory: MetricsDirectory) -> None:
        self._run = run_directory

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """On resume: drop the lines of the steps that come again."""
        if state.is_world_process_zero and state.global_step > 0:
            self._run.truncate_metrics(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append the line, with its step."""
        if state.is_world_process_zero and logs:
            self._run.append_metrics({"step": state.global_step, **logs})
