"""Run by test_launcher.py: a rank that ends well, fails, hangs, or names the threads that a process group leaves."""

import os
import sys
import time
from pathlib import Path

rank, kind = int(os.environ["RANK"]), sys.argv[1]
if kind != "left":
    print(f"rank {rank} of {os.environ['WORLD_SIZE']}", flush=True)
if kind == "fail" and rank == 1:
    raise ValueError("the cause")
if kind in ("fail", "hang"):
    time.sleep(600)


def threads() -> list[str]:
    """Return the names of this process's threads that communicate."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def communicate() -> None:
    """Train one step with DDP."""
    import torch

    torch.distributed.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()


if kind == "left":
    from mcpo_rl.cli.ranks import leave_group, prepare_to_leave_group

    prepare_to_leave_group()
    communicate()
    during = threads()
    leave_group()
    print(f"{bool(during)} {threads()}", flush=True)
