"""The peak memory of real training steps, to hold an estimate against.

Imported only where it is asked for: it loads torch and transformers. Needs TRL's fused LM head, which the caller hands
in, since models know no engine.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from mcpo_rl.models.activations import PassPlan

STEPS = 2
"""The optimizer's states exist from the end of the first step on, so the second shows the peak."""


def measured_peak(config: Any, plan: PassPlan, *, patch: Callable[[Any], None]) -> float:
    """Train random weights on random tokens for two steps; return the bytes that this took at most.

    One process, float32 weights with AdamW, one micro-batch a step. On CUDA the allocator's peak is read; elsewhere the
    process's peak of resident memory, less what it held before (Linux).

    Args:
        config: A `PretrainedConfig`.
        plan: Rows, tokens, completion, types and checkpointing.
        patch: Gives the model TRL's fused LM head.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _resident_peak(device)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(device)
    patch(model)
    model.train()
    if plan.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, foreach=False)
    tokens = torch.randint(0, config.vocab_size, (plan.rows, plan.tokens), device=device)
    mask = torch.ones_like(tokens)
    mask[0, 0] = 0  # one row is padded on the left, as in any real batch
    labels = tokens.clone()
    labels[:, : plan.tokens - plan.completion] = -100
    for _ in range(STEPS):
        _step(model, optimizer, {"input_ids": tokens, "attention_mask": mask, "labels": labels}, plan)
    return _resident_peak(device) - before


def _step(model: Any, optimizer: Any, batch: Mapping[str, Any], plan: PassPlan) -> None:
    device = batch["input_ids"].device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=plan.autocast):
        output = model(**batch, fused_lm_head=True)
    output.log_probs.mean().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _resident_peak(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    if platform.system() != "Linux":
        return float("nan")
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024
