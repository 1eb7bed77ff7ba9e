"""Run by test_launcher.py: a rank that ends well, fails, or hangs."""

import os
import sys
import time

rank, kind = int(os.environ["RANK"]), sys.argv[1]
print(f"rank {rank} of {os.environ['WORLD_SIZE']}", flush=True)
if kind == "fail" and rank == 1:
    raise ValueError("the cause")
if kind in ("fail", "hang"):
    time.sleep(600)
