"""Shapes of well-known models, so that an estimate of memory needs no hub.

The numbers are those of the `config.json` that each model's owner publishes beside its weights on the Hugging Face hub;
what follows from them (the count of parameters) is tested against the sizes that the model cards give. A model that is
in the local hub cache is read from there instead.
"""

from __future__ import annotations

from typing import Any

from mcpo_rl.models.shapes import DecoderShape

_QWEN3: dict[str, Any] = {
    "family": "qwen3",
    "kv_heads": 8,
    "head_dim": 128,
    "vocab": 151936,
    "max_positions": 40960,
}
_QWEN2: dict[str, Any] = {"family": "qwen2", "head_dim": 128, "qkv_bias": True, "max_positions": 32768}
_LLAMA: dict[str, Any] = {"family": "llama", "kv_heads": 8, "vocab": 128256, "max_positions": 131072}

_QWEN3_06B = DecoderShape(hidden=1024, layers=28, heads=16, intermediate=3072, tied=True, **_QWEN3)
_QWEN3_17B = DecoderShape(hidden=2048, layers=28, heads=16, intermediate=6144, tied=True, **_QWEN3)
_QWEN3_4B = DecoderShape(hidden=2560, layers=36, heads=32, intermediate=9728, tied=True, **_QWEN3)
_QWEN3_8B = DecoderShape(hidden=4096, layers=36, heads=32, intermediate=12288, tied=False, **_QWEN3)
_QWEN3_14B = DecoderShape(hidden=5120, layers=40, heads=40, intermediate=17408, tied=False, **_QWEN3)
_QWEN3_30B_A3B = DecoderShape(
    **_QWEN3 | {"family": "qwen3_moe", "kv_heads": 4},
    hidden=2048,
    layers=48,
    heads=32,
    intermediate=6144,
    tied=False,
    experts=128,
    experts_per_token=8,
    expert_intermediate=768,
    sparse_layers=48,
)
_QWEN2_05B = DecoderShape(
    **_QWEN2 | {"head_dim": 64}, hidden=896, layers=24, heads=14, kv_heads=2, intermediate=4864, vocab=151936, tied=True
)
_QWEN2_15B = DecoderShape(
    **_QWEN2, hidden=1536, layers=28, heads=12, kv_heads=2, intermediate=8960, vocab=151936, tied=True
)
_QWEN2_3B = DecoderShape(
    **_QWEN2, hidden=2048, layers=36, heads=16, kv_heads=2, intermediate=11008, vocab=151936, tied=True
)
_QWEN2_7B = DecoderShape(
    **_QWEN2, hidden=3584, layers=28, heads=28, kv_heads=4, intermediate=18944, vocab=152064, tied=False
)
_DISTILL_15B = DecoderShape(
    **_QWEN2 | {"max_positions": 131072},
    hidden=1536,
    layers=28,
    heads=12,
    kv_heads=2,
    intermediate=8960,
    vocab=151936,
    tied=False,
)
_DISTILL_7B = DecoderShape(
    **_QWEN2 | {"max_positions": 131072},
    hidden=3584,
    layers=28,
    heads=28,
    kv_heads=4,
    intermediate=18944,
    vocab=152064,
    tied=False,
)
_LLAMA_1B = DecoderShape(**_LLAMA, hidden=2048, layers=16, heads=32, head_dim=64, intermediate=8192, tied=True)
_LLAMA_3B = DecoderShape(**_LLAMA, hidden=3072, layers=28, heads=24, head_dim=128, intermediate=8192, tied=True)
_LLAMA_8B = DecoderShape(**_LLAMA, hidden=4096, layers=32, heads=32, head_dim=128, intermediate=14336, tied=False)
_SMOLLM2_135M = DecoderShape(
    family="llama",
    hidden=576,
    layers=30,
    heads=9,
    kv_heads=3,
    head_dim=64,
    intermediate=1536,
    vocab=49152,
    tied=True,
    max_positions=8192,
)

KNOWN_SHAPES: dict[str, DecoderShape] = {
    "Qwen/Qwen3-0.6B": _QWEN3_06B,
    "Qwen/Qwen3-0.6B-Base": _QWEN3_06B,
    "Qwen/Qwen3-1.7B": _QWEN3_17B,
    "Qwen/Qwen3-1.7B-Base": _QWEN3_17B,
    "Qwen/Qwen3-4B": _QWEN3_4B,
    "Qwen/Qwen3-4B-Base": _QWEN3_4B,
    "Qwen/Qwen3-8B": _QWEN3_8B,
    "Qwen/Qwen3-8B-Base": _QWEN3_8B,
    "Qwen/Qwen3-14B": _QWEN3_14B,
    "Qwen/Qwen3-14B-Base": _QWEN3_14B,
    "Qwen/Qwen3-30B-A3B": _QWEN3_30B_A3B,
    "Qwen/Qwen2.5-0.5B": _QWEN2_05B,
    "Qwen/Qwen2.5-0.5B-Instruct": _QWEN2_05B,
    "Qwen/Qwen2.5-1.5B": _QWEN2_15B,
    "Qwen/Qwen2.5-1.5B-Instruct": _QWEN2_15B,
    "Qwen/Qwen2.5-3B": _QWEN2_3B,
    "Qwen/Qwen2.5-3B-Instruct": _QWEN2_3B,
    "Qwen/Qwen2.5-7B": _QWEN2_7B,
    "Qwen/Qwen2.5-7B-Instruct": _QWEN2_7B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": _DISTILL_15B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": _DISTILL_7B,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA_8B,
    "meta-llama/Llama-3.2-1B-Instruct": _LLAMA_1B,
    "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_3B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2_135M,
}
"""Shapes by hub id."""
