"""Tiny random models of the common families: three layers of width 32 on the vocabulary of the tests' tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, set_seed

from trainers.conftest import ALPHABET

VOCABULARY = len(ALPHABET) + 3
WIDE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
GROUPED: dict[str, Any] = {**WIDE, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128}
EXPERTS: dict[str, Any] = {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "qwen2": ("qwen2", {key: value for key, value in GROUPED.items() if key != "head_dim"}),
    "qwen3": ("qwen3", GROUPED),
    "gemma": ("gemma", GROUPED),
    "gemma3": (
        "gemma3_text",
        {**GROUPED, "sliding_window": 6, "layer_types": ["sliding_attention"] * 2 + ["full_attention"]},
    ),
    "mistral": ("mistral", {**GROUPED, "sliding_window": None}),
    "qwen3_moe": ("qwen3_moe", {**EXPERTS, "router_aux_loss_coef": 0.05}),
}
"""Name -> (model type of transformers, settings)."""


def make_family(name: str, *, tied: bool | None = None, seed: int = 0, **options: Any) -> PreTrainedModel:
    """Return a tiny random model; `tied` overrides whether input and output embeddings are one matrix."""
    kind, settings = FAMILIES[name]
    return make_kind(kind, tied=tied, seed=seed, **{**settings, **options})


def make_kind(kind: str, *, tied: bool | None = None, seed: int = 0, **settings: Any) -> PreTrainedModel:
    """Return a random model of a model type of transformers."""
    tokens = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    embeddings = {} if tied is None else {"tie_word_embeddings": tied}
    config = AutoConfig.for_model(kind, **{"initializer_range": 0.3, **tokens, **embeddings, **settings})
    set_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
