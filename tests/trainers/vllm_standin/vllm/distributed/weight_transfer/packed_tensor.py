"""As in vLLM from 0.28 on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

NamedTensor = tuple[str, Tensor]


def packed_nccl_broadcast_producer(
    iterator: Iterator[NamedTensor], group: Any, src: int, post_iter_func: Callable[[NamedTensor], Tensor]
) -> None:
    """Send one tensor after the other as bytes."""
    for item in iterator:
        group.broadcast(post_iter_func(item).contiguous().view(-1).view(torch.uint8), src=src)
