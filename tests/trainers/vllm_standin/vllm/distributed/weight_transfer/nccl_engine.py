"""As in vLLM up to 0.27."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer.nccl_common import Communicator, trainer_init
from vllm.distributed.weight_transfer.packed_tensor import NamedTensor, packed_nccl_broadcast_producer


@dataclass
class NCCLTrainerSendWeightsArgs:
    """Where to send and how."""

    group: Communicator
    packed: bool


class NCCLWeightTransferEngine:
    """The trainer's side of the transfer."""

    @staticmethod
    def trainer_init(init_info: dict[str, Any]) -> Communicator:
        """Wait for the worker to join."""
        return trainer_init(init_info)

    @staticmethod
    def trainer_send_weights(iterator: Iterator[NamedTensor], trainer_args: NCCLTrainerSendWeightsArgs) -> None:
        """Send one tensor after the other."""
        assert trainer_args.packed
        packed_nccl_broadcast_producer(iterator, trainer_args.group, src=0, post_iter_func=lambda item: item[1])
