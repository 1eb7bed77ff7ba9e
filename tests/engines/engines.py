"""accelerate's own engines on CPUs: its FSDP2 and DeepSpeed code runs unchanged, with gloo in the place of NCCL.

accelerate offers FSDP and DeepSpeed on accelerators alone. `set_up` tells it that this process has a device of the
kind that it expects, and that this device is the CPU; everything after that is the engines' own code.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any


class Engine(StrEnum):
    DDP = "ddp"
    FSDP2 = "fsdp2"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


ENVIRONMENT: dict[Engine, dict[str, str]] = {
    Engine.DDP: {},
    Engine.FSDP2: {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    },
    Engine.ZERO2: {"ACCELERATE_USE_DEEPSPEED": "true"},
    Engine.ZERO3: {"ACCELERATE_USE_DEEPSPEED": "true"},
}
"""What `accelerate launch` sets for the engine."""

CPU_ENVIRONMENT: dict[Engine, dict[str, str]] = {
    Engine.DDP: {"ACCELERATE_USE_CPU": "true"},
    Engine.FSDP2: {"ACCELERATE_TORCH_DEVICE": "cpu"},
    Engine.ZERO2: {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"},
    Engine.ZERO3: {"ACCELERATE_TORCH_DEVICE": "cpu", "DS_ACCELERATOR": "cpu"},
}


def set_up(engine: Engine, *, gpu: bool = False) -> None:
    """Make this process ready for `engine`, before anything asks accelerate for its state."""
    os.environ.update(ENVIRONMENT[engine])
    if gpu:
        return
    os.environ.update(CPU_ENVIRONMENT[engine])
    if engine is Engine.DDP:
        return
    from accelerate import PartialState
    from accelerate.utils import DistributedType
    from transformers import training_args

    def gloo(self: Any, *arguments: Any, **options: Any) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    PartialState._prepare_backend = gloo
    training_args.is_torch_bf16_gpu_available = lambda: True  # asked where `use_cpu` is not set
    if engine in (Engine.ZERO2, Engine.ZERO3):
        from deepspeed import comm

        comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def training_options(engine: Engine, *, gpu: bool = False) -> dict[str, Any]:
    """Return the fields of the training arguments that belong to the engine."""
    options: dict[str, Any] = {"use_cpu": engine is Engine.DDP and not gpu}
    if engine in (Engine.ZERO2, Engine.ZERO3):
        options["deepspeed"] = {
            "zero_optimization": {"stage": int(engine[-1])},
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "train_batch_size": "auto",
            "gradient_clipping": "auto",
            "bf16": {"enabled": "auto"},
            "zero_allow_untested_optimizer": True,
        }
    return options


def start_anew() -> None:
    """Forget accelerate's state, so that the next trainer of this process may ask for another precision.

    The process group stays.
    """
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
    for name in ("ACCELERATE_MIXED_PRECISION", "FSDP_ACTIVATION_CHECKPOINTING"):
        os.environ.pop(name, None)
