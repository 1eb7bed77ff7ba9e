"""What would make a recipe fit: settings tried on the estimate itself, and what vLLM's share has room for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mcpo_rl.models.memory import GIB, RunPlan, estimate_gpu, kv_cache_bytes, peak, weight_bytes

VLLM_WORKSPACE = 1.5 * GIB
"""Assumed, not measured: vLLM's activations and CUDA graphs beside weights and cache."""

Change = Callable[[RunPlan], RunPlan | None]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of settings and the peak per GPU with it."""

    what: str
    peak: float
    fits: bool


def needed(plan: RunPlan) -> float:
    """Return the bytes that the largest phase needs on a GPU."""
    return peak(estimate_gpu(plan))[1]


def remedies(plan: RunPlan) -> list[Remedy]:
    """Return what to change so that a plan fits: changes that are enough alone, else as many as it takes, in order.

    Where those that are enough alone all change what is learned, or the engine, and others fit together, these stand
    first, as one. The last one does not fit if nothing helps.
    """
    alone = [Remedy(what=what, peak=needed(changed), fits=True) for what, changed in _changed(plan) if _fits(changed)]
    if not alone:
        return _steps(plan, _HARMLESS + _OTHERS)
    if any(_fits(changed) for _, change in _HARMLESS if (changed := change(plan)) is not None):
        return alone
    together = _steps(plan, _HARMLESS)
    if not together or not together[-1].fits:
        return alone
    return [Remedy(what=", ".join(step.what for step in together), peak=together[-1].peak, fits=True), *alone]


def _steps(plan: RunPlan, changes: list[tuple[str, Change]]) -> list[Remedy]:
    """Return changes that build on each other, gone through twice: a later one may make room for an earlier one."""
    steps: dict[str, Remedy] = {}
    now = plan
    for words, change in [*changes, *changes]:
        tried = change(now)
        if tried is None or (not _fits(tried) and _excess(tried) > 0.99 * _excess(now)):
            continue
        now = tried
        steps.pop(words, None)
        steps[words] = Remedy(what=_words(words, now), peak=needed(now), fits=_fits(now))
        if _fits(now):
            break
    return list(steps.values())


def _excess(plan: RunPlan) -> float:
    """Return the bytes that the phases lack, all together."""
    return sum(max(0.0, size - plan.gpu_memory) for size in _totals(plan).values())


def _totals(plan: RunPlan) -> dict[str, float]:
    return {name: sum(parts.values()) for name, parts in estimate_gpu(plan).items()}


def _changed(plan: RunPlan) -> Iterator[tuple[str, RunPlan]]:
    for words, change in _HARMLESS + _OTHERS:
        tried = change(plan)
        if tried is not None:
            yield _words(words, tried), tried


def _fits(plan: RunPlan) -> bool:
    return needed(plan) <= plan.gpu_memory and _starts(plan)


def _starts(plan: RunPlan) -> bool:
    return not vllm_findings(plan, max_tokens=longest_sequence(plan))


def longest_sequence(plan: RunPlan) -> int:
    """Return the tokens of the longest sequence that vLLM makes room for."""
    return plan.vllm_longest or plan.passes.tokens


def _words(words: str, plan: RunPlan) -> str:
    return words.format(
        rows=plan.passes.rows,
        accumulation=plan.accumulation,
        share=plan.vllm_share,
        longest=longest_sequence(plan),
        ranks=plan.ranks,
        completion=plan.passes.completion,
    )


def _smaller_micro_batch(plan: RunPlan) -> RunPlan | None:
    rows = plan.passes.rows
    while rows % 2 == 0:
        rows //= 2
        factor = plan.passes.rows // rows
        tried = replace(plan, passes=replace(plan.passes, rows=rows), accumulation=plan.accumulation * factor)
        if rows % 2 or all(size <= plan.gpu_memory for name, size in _totals(tried).items() if name != "generate"):
            return tried
    return None


def _checkpointing(plan: RunPlan) -> RunPlan | None:
    return None if plan.passes.checkpointing else replace(plan, passes=replace(plan.passes, checkpointing=True))


def _reduce_each_batch(plan: RunPlan) -> RunPlan | None:
    useful = plan.engine == "fsdp" and plan.accumulation > 1 and not plan.sync_each_batch
    return replace(plan, sync_each_batch=True) if useful else None


def _sleeping(plan: RunPlan) -> RunPlan | None:
    return replace(plan, vllm_sleeps=True) if plan.generation == "colocate" and not plan.vllm_sleeps else None


def _colocated_vllm(plan: RunPlan) -> RunPlan | None:
    if plan.generation != "transformers" or not plan.passes.triton:
        return None
    return replace(plan, generation="colocate", vllm_share=0.3, vllm_sleeps=True, vllm_longest=plan.passes.tokens)


def _other_share(plan: RunPlan) -> RunPlan | None:
    """Give vLLM what the rest leaves, if it has more, or too little to start: of generation only where it sleeps.

    A tenth of the GPU stays free, unless vLLM would not start with so little.
    """
    if plan.generation != "colocate":
        return None
    rest = _totals(replace(plan, vllm_share=0.0))
    taken = (rest["generate"] if plan.vllm_sleeps else max(rest.values())) / plan.gpu_memory
    shares = [math.floor(20 * (room - taken)) / 20 for room in (0.9, 1.0)]
    tried = [replace(plan, vllm_share=share) for share in shares if share > 0]
    chosen = next((one for one in tried if _starts(one)), None)
    if chosen is None or chosen.vllm_share == plan.vllm_share:
        return None
    return None if chosen.vllm_share > plan.vllm_share and _starts(plan) else chosen


def _sharding(plan: RunPlan) -> RunPlan | None:
    if plan.engine != "ddp" or plan.ranks == 1:
        return None
    passes = replace(plan.passes, autocast=False)
    return replace(plan, engine="fsdp", sync_each_batch=True, passes=passes)


def _eight_bit(plan: RunPlan) -> RunPlan | None:
    useful = plan.engine in ("one", "ddp") and "8bit" not in plan.optimizer and not plan.lora_parameters
    return replace(plan, optimizer="adamw_bnb_8bit") if useful else None


def _lora(plan: RunPlan) -> RunPlan | None:
    if plan.lora_parameters or plan.shape.sparse_layers:
        return None
    from mcpo_rl.models.shape_lookup import lora_parameters

    count = lora_parameters(plan.shape, {"r": 16, "target_modules": "all-linear"})
    passes = replace(plan.passes, trains_head=False, compute_bytes=2)
    return replace(plan, lora_parameters=count, weight_bytes=2, reference_model=False, passes=passes)


def _shorter(plan: RunPlan) -> RunPlan | None:
    half = plan.passes.completion // 2
    passes = replace(plan.passes, tokens=plan.passes.tokens - plan.passes.completion + half, completion=half)
    return replace(plan, passes=passes) if half >= 256 else None


def _more_gpus(plan: RunPlan) -> RunPlan | None:
    return replace(plan, ranks=2 * plan.ranks) if plan.shards_parameters else None


_HARMLESS: list[tuple[str, Change]] = [
    (
        "per_device_train_batch_size: {rows} and gradient_accumulation_steps: {accumulation} (the same step)",
        _smaller_micro_batch,
    ),
    ("gradient_checkpointing: true", _checkpointing),
    (
        "accelerator_config: {{gradient_accumulation_kwargs: {{sync_each_batch: true}}}} (gradients stay sharded)",
        _reduce_each_batch,
    ),
    (
        "use_vllm: true, vllm_enable_sleep_mode: true and vllm_max_model_length: {longest} (its cache is paged)",
        _colocated_vllm,
    ),
    ("vllm_enable_sleep_mode: true (vLLM gives its memory back during the update)", _sleeping),
    ("vllm_gpu_memory_utilization: {share:.2f}", _other_share),
]
"""Changes of nothing that is learned."""
_OTHERS: list[tuple[str, Change]] = [
    ("sharded weights, gradients and optimizer: --config_file recipes/accelerate/fsdp2.yaml", _sharding),
    ("optim: adamw_bnb_8bit (needs bitsandbytes)", _eight_bit),
    ("peft: {{r: 16, target_modules: all-linear}} with dtype: bfloat16 (LoRA)", _lora),
    ("{ranks} GPUs", _more_gpus),
    ("max_completion_length: {completion}", _shorter),
]
"""Of the engine, the optimizer, the GPUs or the problem; the mildest first."""


def vllm_cache_bytes(plan: RunPlan) -> float:
    """Return what one GPU's share of vLLM leaves for the KV cache, beside 16-bit weights and its workspace."""
    weights = 2 * plan.shape.parameters / plan.vllm_parallel
    return plan.vllm_share * plan.gpu_memory - weights - VLLM_WORKSPACE


def vllm_sequences(plan: RunPlan, max_tokens: int) -> float:
    """Return how many rollouts of `max_tokens` one colocated engine holds at once."""
    per_rollout = 2 * plan.shape.kv_elements_per_token * max_tokens / plan.vllm_parallel
    return max(0.0, vllm_cache_bytes(plan)) / per_rollout


def vllm_findings(plan: RunPlan, *, max_tokens: int) -> list[str]:
    """Return why a colocated vLLM would not start; [] where it would, or is not colocated."""
    if plan.generation != "colocate" or vllm_sequences(plan, max_tokens) >= 1:
        return []
    share = plan.vllm_share * plan.gpu_memory / GIB
    return [
        f"vLLM's share of {share:.1f} GiB has no room for its weights and one rollout of {max_tokens:,} tokens: raise "
        "vllm_gpu_memory_utilization or vllm_tensor_parallel_size, or lower vllm_max_model_length"
    ]


def host_bytes(plan: RunPlan, *, loads_once: bool, per_rank: float) -> float:
    """Return the main memory of one machine: its processes, and the larger of loading and of a checkpoint.

    Each process reads the whole weights unless one does for all (FSDP's `fsdp_cpu_ram_efficient_loading`, ZeRO-3's
    `zero3_init_flag`). For a checkpoint FSDP's `FULL_STATE_DICT` gathers weights and moments on the first process,
    ZeRO-3 16-bit weights. What is offloaded lies here too.
    """
    ranks = plan.ranks_per_node
    loading = plan.shape.parameters * plan.weight_bytes * (1 if loads_once else ranks)
    saving = 0.0
    if plan.engine == "fsdp":
        saving = 12.0 * plan.trained
    elif plan.engine == "zero3":
        saving = 2.0 * plan.shape.parameters
    machines = max(1, plan.ranks // ranks)
    offloaded = (16.0 * plan.trained if plan.offload_optimizer else 0.0) / machines
    if plan.offload_parameters:
        offloaded += weight_bytes(replace(plan, offload_parameters=False)) * ranks
    return ranks * per_rank + max(loading, saving) + offloaded


def generation_note(plan: RunPlan, max_tokens: int) -> str:
    """Return one line on how generation fits."""
    if plan.generation == "server":
        whole = 2 * plan.shape.parameters / GIB
        cache = 2 * plan.shape.kv_elements_per_token * max_tokens / GIB
        return f"vLLM on GPUs of its own: {whole:.1f} GiB of weights an engine, {cache:.2f} GiB a full rollout"
    if plan.generation == "colocate":
        wanted = plan.rollouts_per_rank * plan.vllm_parallel
        return (
            f"vLLM's cache holds {vllm_sequences(plan, max_tokens):.0f} rollouts of {max_tokens:,} tokens at once; an "
            f"engine draws {wanted} in a step, shorter ones take less, and what has no room waits"
        )
    return (
        f"transformers draws {plan.rollouts_per_rank} rollouts at once: {kv_cache_bytes(plan) / GIB:.1f} GiB of cache"
    )
