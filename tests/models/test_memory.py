"""Memory: what real layers save, byte by byte, and what the engines of the ZeRO paper divide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from mcpo_rl.models import memory
from mcpo_rl.models.activations import PassPlan, layer_bytes_per_token, lm_head_bytes, saved_bytes
from mcpo_rl.models.known_shapes import KNOWN_SHAPES
from mcpo_rl.models.memory import GIB, PoolPlan, RunPlan
from mcpo_rl.models.shapes import shape_from_config

ROWS, TOKENS = 2, 48
QWEN = KNOWN_SHAPES["Qwen/Qwen3-4B"]
PASSES = PassPlan(
    rows=ROWS, tokens=TOKENS, completion=TOKENS, compute_bytes=4, autocast=False, checkpointing=False, triton=False
)
RUN = RunPlan(
    shape=QWEN,
    engine="one",
    ranks=1,
    ranks_per_node=1,
    weight_bytes=4,
    mixed=True,
    optimizer="adamw_torch_fused",
    lora_parameters=0,
    reference_model=False,
    passes=replace(PASSES, compute_bytes=2, autocast=True, triton=True),
    accumulation=4,
    sync_each_batch=False,
    offload_optimizer=False,
    offload_parameters=False,
    rollouts_per_rank=8,
    pool=PoolPlan(rollouts=64, head_hidden=2560, head_dim=128, block=512),
    generation="transformers",
    vllm_share=0.0,
    vllm_sleeps=False,
    vllm_parallel=1,
    gpu_memory=80.0 * GIB,
)


def saved_by(model: Any, *, autocast: bool) -> int:
    """Return the bytes of all storages that autograd keeps for the backward pass, weights and their casts apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    shapes = {tuple(parameter.shape) for parameter in model.parameters()}
    shapes |= {(shape[0], *shape[:0:-1]) for shape in shapes} | {shape[::-1] for shape in shapes}  # experts, matrices
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        cast = autocast and tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes
        if tensor.untyped_storage().data_ptr() not in weights and not cast:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.randint(5, 90, (ROWS, TOKENS))
    mask = torch.ones_like(tokens)
    mask[0, :3] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        model(input_ids=tokens, attention_mask=mask, labels=tokens, fused_lm_head=True)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def small(family: str, layers: int, *, half: bool, checkpointing: bool) -> Any:
    options = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48} if "moe" in family else {}
    config = AutoConfig.for_model(
        family,
        vocab_size=97,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        **options,
    )
    model = AutoModelForCausalLM.from_config(config)
    add_fused_lm_head(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.to(torch.bfloat16) if half else model


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "autocast", "checkpointing"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "qwen3_moe"])
def test_layers_save_what_is_counted(family: str, kind: str) -> None:
    checkpointing, autocast, half = kind == "checkpointing", kind == "autocast", kind == "bfloat16"
    models = [small(family, layers, half=half, checkpointing=checkpointing) for layers in (1, 2)]
    one, two = (saved_by(model, autocast=autocast) for model in models)
    shape = shape_from_config(models[1].config.to_dict(), name=family)
    plan = replace(PASSES, compute_bytes=2 if half or autocast else 4, autocast=autocast, checkpointing=checkpointing)
    if not checkpointing:
        assert ROWS * TOKENS * layer_bytes_per_token(shape, plan) == pytest.approx(
            two - one, rel=0.04 if "moe" in family else 0.01
        )
    assert saved_bytes(shape, plan) == pytest.approx(two, rel=0.05)


def test_the_zero_paper() -> None:
    # Section 3.1: with mixed-precision Adam 2 + 2 + 12 bytes a parameter; stages 1, 2 and 3 divide 12, 14 and all 16.
    # DeepSpeed has buckets and, while it steps, a float32 copy of its share of the gradients besides.
    n, many = QWEN.parameters, 1024
    for engine, divided in (("zero1", 12), ("zero2", 14), ("zero3", 16)):
        plan = replace(RUN, engine=engine, ranks=many, mixed=True)
        states = memory.weight_bytes(plan) + memory.optimizer_bytes_per_gpu(plan)
        besides = 2 * memory.BUCKET * 2 + 4 * n / many
        whole = states + memory.gradient_bytes(plan) - besides
        assert whole == pytest.approx((16 - divided) * n + divided * n / many)


def test_data_parallel_keeps_everything_on_each_gpu() -> None:
    n = QWEN.parameters
    for ranks in (2, 8):
        plan = replace(RUN, engine="ddp", ranks=ranks)
        assert memory.weight_bytes(plan) == 4 * n
        assert memory.optimizer_bytes_per_gpu(plan) == 8 * n
        assert memory.gradient_bytes(plan) == 8 * n  # and their buckets


def test_fsdp_keeps_whole_gradients_until_the_last_micro_batch() -> None:
    plan = replace(RUN, engine="fsdp", ranks=8)
    n = QWEN.parameters
    assert memory.gradient_bytes(plan) == 4 * n / 8 + 2 * n
    assert memory.gradient_bytes(replace(plan, sync_each_batch=True)) == 4 * n / 8
    assert memory.gradient_bytes(replace(plan, accumulation=1)) == 4 * n / 8


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [("adamw_torch_fused", 8), ("adamw_bnb_8bit", 2), ("paged_adamw_8bit", 2), ("sgd", 0), ("adafactor", 0)],
)
def test_optimizer_states(optimizer: str, expected: int) -> None:
    assert memory.state_bytes(replace(RUN, optimizer=optimizer)) == expected


def test_lora_has_no_states_of_frozen_weights() -> None:
    plan = replace(RUN, lora_parameters=10_000_000, weight_bytes=2)
    assert memory.weight_bytes(plan) == 2 * QWEN.parameters + 4 * 10_000_000
    assert memory.optimizer_bytes(plan) == 8 * 10_000_000
    whole = lm_head_bytes(QWEN, RUN.passes) - lm_head_bytes(QWEN, replace(RUN.passes, trains_head=False))
    assert whole == QWEN.vocab * QWEN.hidden * 8  # a float32 sum of the gradient, and its copy


def test_vllm_takes_its_share_in_one_phase_where_it_sleeps() -> None:
    plan = replace(RUN, generation="colocate", vllm_share=0.5)
    phases = memory.estimate_gpu(plan)
    assert {parts["generation"] for parts in phases.values()} == {40 * GIB}
    asleep = memory.estimate_gpu(replace(plan, vllm_sleeps=True))
    assert [asleep[name]["generation"] for name in ("generate", "pool", "update")] == [40 * GIB, 0, 0]
    assert "pool" not in memory.estimate_gpu(replace(plan, pool=None))
