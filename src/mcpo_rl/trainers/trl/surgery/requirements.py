"""What gradient surgery cannot work with is refused at construction, with the reason."""

from __future__ import annotations

from typing import Any

from accelerate.utils import DistributedType

from mcpo_rl.errors import ConfigError

WORKING_BACKENDS = (
    DistributedType.NO,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_NPU,
    DistributedType.MULTI_XPU,
)
"""One device, or DDP: every rank holds all gradients whole."""


def check_surgery(trainer: Any) -> None:
    """Refuse what gradient surgery was not made for.

    Raises:
        ConfigError: with what to do.
    """
    backend = trainer.accelerator.distributed_type
    if backend not in WORKING_BACKENDS or trainer.get_tp_size() > 1:
        engine = "tensor parallelism" if backend in WORKING_BACKENDS else backend.value
        raise ConfigError(
            f"Gradient surgery cannot be combined with {engine}: it compares and combines whole gradients of each "
            "domain, which a sharded engine has on no rank. Use DDP or one device (with peft the gradients are small), "
            "or another method."
        )
    if trainer.args.n_gpu > 1:
        raise ConfigError(
            "Gradient surgery cannot be combined with torch's DataParallel. Start one process for each GPU "
            "(accelerate launch), or let it see one GPU alone (CUDA_VISIBLE_DEVICES=0)."
        )
    if trainer._is_vlm:
        raise ConfigError("Gradient surgery is not made for vision-language models. Use a text model.")
    if trainer.aux_loss_enabled:
        raise ConfigError(
            "Gradient surgery cannot be combined with a mixture of experts' load-balancing loss: it is no sum over "
            "rollouts, so no domain has a share of it. Set router_aux_loss_coef=0."
        )
