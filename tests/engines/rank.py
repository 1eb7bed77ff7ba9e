"""Runs a module as one of several ranks and ends its process group, as a training script should."""

from __future__ import annotations

import runpy
import sys

from mcpo_rl.cli.ranks import leave_group, prepare_to_leave_group

if __name__ == "__main__":
    prepare_to_leave_group()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    leave_group()
