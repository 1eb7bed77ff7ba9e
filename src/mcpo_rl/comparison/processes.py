"""Tasks as processes of their own: each prints into its log, and several share the machine's GPUs or cores."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.errors import ConfigError
from mcpo_rl.runs.files import write_error

PYTHON = (sys.executable, "-m", "mcpo_rl")
"""The command `mcpo-rl`, wherever it is installed."""


class ChildProcess:
    """One command in a session of its own: a Ctrl-C at the terminal reaches it once, through us."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise ConfigError(f"there is no command `{command[0]}` to launch runs with.") from error
        except OSError as error:
            raise write_error(log, error) from error

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Send Ctrl-C to the command and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)


class Processes:
    """Starts the tasks of a plan as processes.

    Args:
        plan: The plan.
        jobs: Tasks at a time: each gets an equal part of the GPUs, and on a CPU of the cores.
        launcher: Words before `-m mcpo_rl` of a training run, such as `accelerate launch --num_processes 8`; empty
            starts one process.
        gpus: The GPUs to share, as `CUDA_VISIBLE_DEVICES` names them.

    Raises:
        ConfigError: More tasks at a time than GPUs.
    """

    def __init__(self, plan: Plan, *, jobs: int = 1, launcher: Sequence[str] = (), gpus: Sequence[str] = ()) -> None:
        if gpus and jobs > len(gpus):
            raise ConfigError(f"--jobs {jobs}: there {'is' if len(gpus) == 1 else 'are'} {len(gpus)} GPU(s) to share.")
        self._plan, self._jobs, self._launcher, self._gpus = plan, jobs, tuple(launcher), tuple(gpus)

    def __call__(self, task: Task, place: int, evaluate: bool) -> ChildProcess:
        """Start a task in one of the places 0 .. jobs - 1."""
        launched = bool(self._launcher) and task.kind == "train" and not evaluate
        before = (*self._launcher, "-m", "mcpo_rl") if launched else PYTHON
        environment = self.environment(place, alone=not launched)
        return ChildProcess([*before, *self._plan.words(task)], self._plan.log(task), environment)

    def environment(self, place: int, *, alone: bool) -> dict[str, str]:
        """Return the environment of a task.

        Args:
            place: 0 .. jobs - 1.
            alone: It is one process, which sees one GPU: transformers would spread over several what is meant for one.
        """
        environment = dict(os.environ)
        if self._gpus:
            share = len(self._gpus) // self._jobs
            own = self._gpus[place * share : (place + 1) * share]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(own[:1] if alone else own)
        elif self._jobs > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self._jobs)))
        return environment
