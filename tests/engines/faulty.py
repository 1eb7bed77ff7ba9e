"""`mcpo-rl` with a fault: on one rank, at its n-th call of something. Run by test_failures.py on each rank."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import accelerate
import torch

from mcpo_rl.cli import main
from mcpo_rl.errors import ProblemError
from mcpo_rl.trainers.trl import MCPOTrainer
from mcpo_rl.trainers.trl.phases.pool import PoolPhase


def bug(*arguments: Any) -> None:
    raise ValueError("a bug in the reward")


def mistake(*arguments: Any) -> None:
    raise ProblemError("row 7 cannot be used")


def memory(*arguments: Any) -> None:
    raise MemoryError


def full_disk(*arguments: Any) -> None:
    raise OSError(28, "No space left on device")


def killed(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stopped(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def interrupted(*arguments: Any) -> None:
    """As a terminal does it: the signal goes to every process of the group, the launcher among them."""
    os.killpg(os.getpgrp(), signal.SIGINT)


FAULTS: dict[str, tuple[Any, str, Callable[..., None]]] = {
    "bug": (MCPOTrainer, "_calculate_rewards", bug),
    "mistake": (MCPOTrainer, "_calculate_rewards", mistake),
    "memory": (MCPOTrainer, "_generate_single_turn", memory),
    "disk": (MCPOTrainer, "_save_optimizer_and_scheduler", full_disk),
    "killed": (accelerate.Accelerator, "backward", killed),
    "stopped": (MCPOTrainer, "_generate_single_turn", stopped),
    "interrupted": (MCPOTrainer, "_calculate_rewards", interrupted),
}


def install(fault: str, call: int) -> None:
    owner, name, happen = FAULTS[fault]
    original, calls = getattr(owner, name), [0]

    def faulty(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            happen(*arguments)
        return original(*arguments, **options)

    setattr(owner, name, faulty)


def spoil_features(first_row: int, rows: int) -> None:
    """From the second pool on, these rows of this rank are NaN."""
    original, calls = PoolPhase.run, [0]

    def spoilt(self: PoolPhase, features: torch.Tensor, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:
            features = features.clone()
            features[first_row : first_row + rows] = float("nan")
        return original(self, features, *arguments)

    PoolPhase.run = spoilt  # type: ignore[assignment,method-assign]


if __name__ == "__main__":
    fault, rank, call = sys.argv[1].split(":")
    if os.environ["RANK"] == rank and fault == "nan":
        spoil_features(0, int(call))
    elif os.environ["RANK"] == rank and fault != "none":
        install(fault, int(call))
    sys.exit(main(sys.argv[2:]))
