"""The group over which weights travel: a TCP connection in the place of NCCL, which needs GPUs.

As with NCCL the bytes come without names: what they are, the server has to know from the announcement before.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from torch import Tensor

PATIENCE_S = 30.0


class Communicator:
    """The trainer's end (rank 0); broadcasts to the one worker there is."""

    def __init__(self, connection: socket.socket) -> None:
        # TRL closes the group by dropping these two.
        self.group = SimpleNamespace(store=None, socket=connection)

    def broadcast(self, tensor: Tensor, src: int) -> None:
        """Send the bytes of a uint8 tensor."""
        assert src == 0
        self.group.socket.sendall(tensor.cpu().numpy().tobytes())


def trainer_init(init_info: dict[str, Any]) -> Communicator:
    """Wait for the worker to join, as the rendezvous of NCCL does."""
    assert init_info["rank_offset"] == 1 and init_info["world_size"] == 2
    with socket.create_server((init_info["master_address"], init_info["master_port"])) as listening:
        listening.settimeout(PATIENCE_S)
        return Communicator(listening.accept()[0])
