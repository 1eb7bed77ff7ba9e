"""How a rank notices that another one has ended or does not answer."""

from __future__ import annotations

import re

import torch.distributed

from mcpo_rl.errors import MCPOError

_LOST = re.compile(
    r"connection (was )?(closed|reset) by (remote )?peer|broken pipe|connection refused|gloo/|"
    r"timed out (after )?waiting|wait timeout|nccl|remote process exited",
    re.IGNORECASE,
)


def is_lost_connection(error: BaseException) -> bool:
    """Whether `error` is how the communication between ranks says so; it comes as a plain RuntimeError with gloo.

    NCCL itself says nothing of a rank that hangs: torch then ends the process after `ddp_timeout`.
    """
    if isinstance(error, MCPOError):
        return False
    if isinstance(error, torch.distributed.DistError):
        return True
    several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    return several and isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))
