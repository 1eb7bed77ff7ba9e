"""How much memory a training run needs on each GPU, estimated from the model's shape and the run's settings.

The states of the model follow Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter
Models" (arXiv 1910.02054): with mixed precision 2 bytes of weights, 2 of gradients and 12 of optimizer (a float32 copy
and Adam's two moments) per parameter, each kind whole or divided by the ranks, as the engine does it. Activations are
in `activations`. What is not counted: fragmentation of the allocator, beyond `RESERVE`.

A step has three phases that follow each other: `generate`, `pool` (the contrastive term) and `update`. The largest
decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcpo_rl.models.activations import (
    FLOAT32,
    PassPlan,
    backward_peak_bytes,
    forward_bytes,
)
from mcpo_rl.models.shapes import DecoderShape

Engine = Literal["one", "ddp", "fsdp", "zero1", "zero2", "zero3"]
Generation = Literal["transformers", "colocate", "server"]

GIB = 2**30
RESERVE = 2 * GIB
"""Assumed, not measured: the CUDA context, NCCL's buffers and cuBLAS's workspaces of one process."""
HOST_PER_RANK = 4 * GIB
"""Assumed, not measured: Python with torch, CUDA and vLLM, and a rank's share of the data."""

BUCKET = 500_000_000
"""Numbers of DeepSpeed's reduce bucket by default (`reduce_bucket_size`)."""
LIVE_PARAMETERS = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at most (`stage3_max_live_parameters`); also its `sub_group_size`."""

_STATES = {"sgd": 0.0, "adafactor": 0.0, "lion": 1.0, "lion_32bit": 1.0, "adagrad": 1.0, "rmsprop": 1.0}
"""Moments per parameter of optimizers that keep other than Adam's two; Adafactor's rows and columns are too few to
count."""


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """What the contrastive term holds, on every rank alike."""

    rollouts: int
    """N, of all ranks."""
    head_hidden: int
    """Width of the head's hidden layer."""
    head_dim: int
    """m."""
    block: int | None
    """Anchors that the losses handle at once; None is all."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """The settings that memory follows from."""

    shape: DecoderShape
    engine: Engine
    """How the ranks share the model; `one` is one GPU."""
    ranks: int
    ranks_per_node: int
    weight_bytes: int
    """Of a weight as loaded: 4, or 2."""
    mixed: bool
    """16-bit matrix products over float32 weights (`bf16: true`)."""
    optimizer: str
    """transformers' name of it (`optim`)."""
    lora_parameters: int
    """Trained parameters of LoRA; 0 trains all weights."""
    reference_model: bool
    """A frozen copy for the KL term."""
    passes: PassPlan
    accumulation: int
    """Micro-batches of an optimizer step."""
    sync_each_batch: bool
    """FSDP reduces the gradients after each micro-batch and not only after the last."""
    offload_optimizer: bool
    offload_parameters: bool
    rollouts_per_rank: int
    """Of one generation batch."""
    pool: PoolPlan | None
    generation: Generation
    vllm_share: float
    """Of the GPU's memory, for vLLM (`vllm_gpu_memory_utilization`)."""
    vllm_sleeps: bool
    """vLLM gives its memory back while it does not generate."""
    vllm_parallel: int
    """GPUs of one vLLM engine."""
    vllm_longest: int = 0
    """Tokens of the longest sequence that vLLM makes room for; 0 is a prompt with its completion."""
    gpu_memory: float
    """Bytes of one GPU."""
    reserve: float = RESERVE
    """Bytes of a process that no tensor accounts for."""

    @property
    def trained(self) -> int:
        """Parameters that get a gradient."""
        return self.lora_parameters or self.shape.parameters

    @property
    def frozen(self) -> int:
        """Parameters that get none."""
        return self.shape.parameters if self.lora_parameters else 0

    @property
    def deepspeed(self) -> bool:
        """Whether DeepSpeed holds the weights."""
        return self.engine.startswith("zero")

    @property
    def shards_parameters(self) -> bool:
        """Whether a rank holds a part of the weights only."""
        return self.engine in ("fsdp", "zero3")


def weight_bytes(plan: RunPlan) -> float:
    """Return the weights on one GPU: DeepSpeed and its 16-bit copy, FSDP its float32 shards, else as loaded."""
    if plan.offload_parameters:
        return 0.0
    of_trained = plan.weight_bytes
    if plan.deepspeed and plan.mixed:
        of_trained = 2
    elif plan.lora_parameters or (plan.engine == "fsdp" and plan.mixed):
        of_trained = FLOAT32  # LoRA's own matrices are made in float32; FSDP raises what it trains
    of_frozen = 2 if plan.deepspeed and plan.mixed else plan.weight_bytes
    whole = plan.trained * of_trained + plan.frozen * of_frozen
    reference = plan.shape.parameters * (2 if plan.deepspeed and plan.mixed else plan.weight_bytes)
    return (whole + (reference if plan.reference_model else 0)) / (plan.ranks if plan.shards_parameters else 1)


def optimizer_bytes(plan: RunPlan) -> float:
    """Return the optimizer's states of all ranks together, DeepSpeed's float32 copy of the weights with them."""
    master = FLOAT32 if plan.deepspeed and plan.mixed else 0
    return plan.trained * (state_bytes(plan) + master)


def state_bytes(plan: RunPlan) -> float:
    """Return the bytes of the optimizer's moments per trained parameter."""
    name = plan.optimizer.removeprefix("paged_")
    if "8bit" in name:
        return 1.0 if "lion" in name else 2.0
    plain = plan.weight_bytes == 2 and not plan.mixed and not plan.lora_parameters
    return _STATES.get(name, 2.0) * (2 if plain else FLOAT32)


def optimizer_bytes_per_gpu(plan: RunPlan) -> float:
    """Return the share of `optimizer_bytes` that lies on one GPU."""
    if plan.offload_optimizer:
        return 0.0
    return optimizer_bytes(plan) / (1 if plan.engine in ("one", "ddp") else plan.ranks)


def gradient_bytes(plan: RunPlan) -> float:
    """Return the gradients on one GPU, with the buffers that they are reduced through.

    - DDP keeps whole gradients, and buckets of the same size.
    - FSDP keeps shards in float32. Over several micro-batches it keeps *whole* 16-bit gradients as well, because
      transformers puts the reduction off to the last one, unless `sync_each_batch` is set.
    - ZeRO-2 and 3 keep 16-bit shards, a float32 copy of them (ZeRO-3: of a group) for the step, and two buckets.
    """
    n, ranks = plan.trained, plan.ranks
    plain = FLOAT32 if plan.lora_parameters or plan.weight_bytes == FLOAT32 else plan.weight_bytes
    if plan.engine in ("one", "ddp"):
        return n * plain * (2 if plan.engine == "ddp" and ranks > 1 else 1)
    if plan.engine == "fsdp":
        whole = plan.accumulation > 1 and not plan.sync_each_batch
        return n * (FLOAT32 if plan.mixed else plain) / ranks + (n * plan.passes.compute_bytes if whole else 0)
    reduced = 2 if plan.mixed else plain
    shard = n / ranks
    bucket = 2 * min(BUCKET, n) * reduced
    if plan.engine == "zero1":
        return n * reduced + shard * FLOAT32 + bucket
    step = shard if plan.engine == "zero2" else min(shard, LIVE_PARAMETERS)
    return shard * reduced + (0 if plan.offload_optimizer else step * FLOAT32) + bucket


def gathered_bytes(plan: RunPlan) -> float:
    """Return what a sharding engine gathers for a pass: ZeRO-3 its live parameters, FSDP two layers and the root."""
    if plan.engine == "zero3":
        return min(LIVE_PARAMETERS, plan.shape.parameters) * plan.passes.compute_bytes
    if plan.engine == "fsdp":
        numbers = 2 * plan.shape.largest_layer_parameters + plan.shape.root_parameters
        return numbers * plan.passes.compute_bytes
    return 0.0


def cast_bytes(plan: RunPlan) -> float:
    """Return autocast's 16-bit copies of the layers' weights; with checkpointing only one layer's outlive its pass."""
    if not plan.passes.autocast:
        return 0.0
    layers = 1 if plan.passes.checkpointing else plan.shape.layers
    return layers * plan.shape.largest_layer_parameters * plan.passes.compute_bytes


def pool_bytes(plan: RunPlan) -> float:
    """Return the head with its optimizer, the pool and the temporaries of its losses, in float32.

    Gathered features, their copies and gradients are 8 N d; the head's hidden layer 4 N w; embeddings 6 N m; a block of
    anchors meets at most all rollouts, in at most 6 matrices at once.
    """
    if plan.pool is None:
        return 0.0
    pool, d = plan.pool, plan.shape.hidden
    head = (d + 1) * pool.head_hidden + (pool.head_hidden + 1) * pool.head_dim
    rows = pool.rollouts * (8 * d + 4 * pool.head_hidden + 6 * pool.head_dim)
    block = min(pool.block or pool.rollouts, pool.rollouts) * pool.rollouts * 6
    return FLOAT32 * (4 * head + rows + block)


def head_bytes(plan: RunPlan) -> float:
    """Return what stays of the contrastive term outside of the pool phase: the head, its moments, the gradients g."""
    if plan.pool is None:
        return 0.0
    pool, d = plan.pool, plan.shape.hidden
    head = (d + 1) * pool.head_hidden + (pool.head_hidden + 1) * pool.head_dim
    return FLOAT32 * (3 * head + plan.rollouts_per_rank * d)


def kv_cache_bytes(plan: RunPlan) -> float:
    """Return the KV cache of transformers' generate, which draws all of a rank's rollouts at once."""
    tokens = plan.rollouts_per_rank * plan.passes.tokens
    return tokens * plan.shape.kv_elements_per_token * plan.weight_bytes


def estimate_gpu(plan: RunPlan) -> dict[str, dict[str, float]]:
    """Return the bytes on one GPU by phase and component; every phase has the same components.

    Returns:
        `generate`, `pool` (missing with plain GRPO) and `update`, each a mapping of what takes memory to bytes.
    """
    standing = {
        "weights": weight_bytes(plan),
        "optimizer": optimizer_bytes_per_gpu(plan),
        "gradients": 0.0,
        "gathered": 0.0,
        "activations": 0.0,
        "contrastive": head_bytes(plan),
        "generation": 0.0,
        "reserve": plan.reserve,
    }
    awake = plan.vllm_share * plan.gpu_memory if plan.generation == "colocate" else 0.0
    standing["generation"] = 0.0 if plan.vllm_sleeps else awake
    phases = {"generate": standing | {"generation": awake}}
    if plan.generation == "transformers":
        whole = plan.shape.parameters * plan.weight_bytes if plan.shards_parameters else 0.0
        phases["generate"] |= {"generation": kv_cache_bytes(plan), "gathered": whole}
    gathered = gathered_bytes(plan)
    if plan.pool is not None:
        phases["pool"] = standing | {
            "gathered": gathered,
            "activations": _forward_bytes(plan) + cast_bytes(plan),
            "contrastive": pool_bytes(plan),
        }
    phases["update"] = standing | {
        "gradients": gradient_bytes(plan),
        "gathered": gathered,
        "activations": backward_peak_bytes(plan.shape, plan.passes) + cast_bytes(plan),
    }
    return phases


def _forward_bytes(plan: RunPlan) -> float:
    """Return the extra pass without gradients, or that for old log-probabilities: twice the rows of a micro-batch."""
    return 2 * forward_bytes(plan.shape, plan.passes)


def peak(phases: dict[str, dict[str, float]]) -> tuple[str, float]:
    """Return the phase that needs the most, and how much."""
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    worst = max(totals, key=lambda name: totals[name])
    return worst, totals[worst]
