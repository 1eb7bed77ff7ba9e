"""Live progress of a training run: reward, steps per second and time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging as transformers_logging


class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
    """A bar on a terminal, a line every few steps elsewhere. `MCPOTrainer` takes transformers' own bar away for it.

    Args:
        label: what is being trained, shown in front.
        line_every: steps between two lines where there is no terminal; the last step always has one.
        console: where to; standard error if left out.
    """

    def __init__(self, label: str = "train", line_every: int = 10, console: Console | None = None) -> None:
        self.label, self.line_every = label, line_every
        self.console = console if console is not None else Console(stderr=True)
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._reward: float | None = None
        self._started = 0.0
        self._first_step = 0
        self._other_bars = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock and the bar."""
        self._started, self._first_step = time.monotonic(), state.global_step
        self._other_bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # a bar for each file of a checkpoint
        if not state.is_world_process_zero or not self.console.is_terminal:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._progress.add_task(
            self.label, total=state.max_steps, completed=state.global_step, note="reward - · - step/s"
        )
        self._progress.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move on by one step."""
        if not state.is_world_process_zero:
            return
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step, note=self._note(state))
        elif state.global_step % self.line_every == 0 or state.global_step == state.max_steps:
            rate = self._rate(state)
            left = (state.max_steps - state.global_step) / rate if rate > 0 else 0.0
            self.console.print(
                f"{self.label} {state.global_step}/{state.max_steps} · {self._note(state)} · {left:.0f} s left",
                highlight=False,
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the latest reward."""
        if logs and logs.get("reward") is not None:
            self._reward = logs["reward"]

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar down."""
        self.close()

    def close(self) -> None:
        """Take the bar down; the trainer also does this when training ends in an error."""
        if self._other_bars:
            transformers_logging.enable_progress_bar()
            self._other_bars = False
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _rate(self, state: TrainerState) -> float:
        elapsed = time.monotonic() - self._started
        return (state.global_step - self._first_step) / elapsed if elapsed > 0 else 0.0

    def _note(self, state: TrainerState) -> str:
        reward = "-" if self._reward is None else f"{self._reward:.3f}"
        rate = self._rate(state)
        return (
            f"reward {reward} · {rate:.2f} step/s"
            if rate >= 0.1 or rate == 0
            else f"reward {reward} · {1 / rate:.0f} s/step"
        )
