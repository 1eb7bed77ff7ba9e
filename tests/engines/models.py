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

NO_DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, **NO_DROPOUT}
PLAIN: dict[str, Any] = {**WIDE, "num_key_value_heads": 2, "max_position_embeddings": 128}
ROUTED: dict[str, Any] = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
LATENT: dict[str, Any] = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4}
LATENT |= {"v_head_dim": 8, "head_dim": 4, "num_key_value_heads": 4}
LINEAR: dict[str, Any] = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
LINEAR |= {"linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention", "linear_attention"]}
STATES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "state_size": 8}

OTHER_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT),
    "gpt_neox": ("gpt_neox", {**WIDE, "max_position_embeddings": 128}),
    "gptj": ("gptj", {**GPT, "rotary_dim": 8}),
    "opt": ("opt", {**PLAIN, "ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 3, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0}),
    "falcon": ("falcon", {**WIDE, "hidden_dropout": 0.0, "attention_dropout": 0.0}),
    **{
        kind: (kind, PLAIN) for kind in ("phi", "olmo", "olmo2", "granite", "cohere", "smollm3", "stablelm", "nemotron")
    },
    **{kind: (kind, GROUPED) for kind in ("cohere2", "glm4", "exaone4", "ernie4_5", "hunyuan_v1_dense", "ministral")},
    "phi3": ("phi3", {**PLAIN, "head_dim": 8}),
    "starcoder2": ("starcoder2", {**PLAIN, "residual_dropout": 0.0, "embedding_dropout": 0.0}),
    "gemma2": ("gemma2", {**GROUPED, "query_pre_attn_scalar": 8}),
    "mixtral": ("mixtral", {**PLAIN, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": ("gpt_oss", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "deepseek_v3": ("deepseek_v3", {**PLAIN, **LATENT, **ROUTED, "qk_head_dim": 8}),
    "glm4_moe": ("glm4_moe", {**GROUPED, **ROUTED}),
    "qwen3_next": ("qwen3_next", {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 24}),
    "lfm2": ("lfm2", {**PLAIN, "layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False}),
    "mamba2": ("mamba2", {**STATES, "expand": 2, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}),
    "recurrent_gemma": ("recurrent_gemma", {**PLAIN, "lru_width": 32, "attention_window_size": 16}),
}
REFUSED_FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama4_text": ("llama4_text", {**GROUPED, "num_local_experts": 2, "intermediate_size_mlp": 48}),
}
FAMILIES |= {**OTHER_FAMILIES, **REFUSED_FAMILIES}

NO_FLOAT64 = {"bloom", "gemma2", "qwen3_next"}
"""Compared in float32. Masks of the lowest float64 are -inf to the float32 softmax of the first two; the delta rule of
the last rounds to float32 in any case."""


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


WITHOUT_EMBEDDINGS = {"mamba2"}
"""Whose `hidden_states` begin with the first layer's, where others begin with the embeddings."""
