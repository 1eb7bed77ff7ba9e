"""`mcpo-rl doctor --recipe R --measure`: the estimate of a training step held against a real one.

Imported inside the command only: it loads torch, transformers and TRL.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transformers import AutoConfig
from trl.trainer.utils import add_fused_lm_head

from mcpo_rl.errors import ConfigError
from mcpo_rl.models.activations import backward_peak_bytes
from mcpo_rl.models.measure import measured_peak
from mcpo_rl.models.memory import RunPlan, cast_bytes
from mcpo_rl.models.shapes import DecoderShape


def measured_step(plan: RunPlan) -> dict[str, float]:
    """Train random weights of the recipe's shape on micro-batches of its size, in this process; needs Linux or CUDA.

    Returns:
        `estimate` and `measured`, bytes of weights, gradients, AdamW and activations, and their `ratio`.

    Raises:
        ConfigError: A recipe with LoRA or 16-bit weights, or a model with experts: those are not measured.
    """
    if plan.lora_parameters or plan.weight_bytes != 4 or plan.shape.sparse_layers:
        raise ConfigError(
            "--measure trains all weights of a dense model in float32 (with bf16 products where the recipe asks for "
            "them): leave out `peft` and set `dtype: float32`."
        )
    passes = replace(plan.passes, autocast=plan.mixed)
    alone = replace(plan, engine="one", ranks=1, passes=passes)
    estimate = 16.0 * plan.shape.parameters + backward_peak_bytes(plan.shape, passes) + cast_bytes(alone)
    measured = measured_peak(_config(plan.shape), passes, patch=_fused)
    if not measured > 0:
        raise ConfigError("--measure: the step took no more than this process held before; measure a larger model.")
    return {"estimate": estimate, "measured": measured, "ratio": round(estimate / measured, 3)}


def _fused(model: Any) -> None:
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))  # what TRL's trainer asks for


def _config(shape: DecoderShape) -> Any:
    return AutoConfig.for_model(
        shape.family,
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tie_word_embeddings=shape.tied,
    )
