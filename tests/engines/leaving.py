"""Run by test_launcher.py on each rank: trains a step with DDP and names the threads that the process group leaves."""

from pathlib import Path

import torch

from mcpo_rl.cli.ranks import leave_group, prepare_to_leave_group


def threads() -> list[str]:
    """Return the names of this process's threads that communicate."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def train() -> None:
    torch.distributed.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()


if __name__ == "__main__":
    prepare_to_leave_group()
    train()
    during = threads()
    leave_group()
    print(f"{bool(during)} {threads()}", flush=True)
