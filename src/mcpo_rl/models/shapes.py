"""The shape of a decoder, read from its `config.json`, and how many parameters such a model has.

No torch and no transformers: an estimate of memory should answer at once, on a login node too.

Axes: h width of the model, f width of a feed-forward layer, a attention heads, k key-value heads, e width of a head,
V vocabulary, L layers, E experts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpo_rl.errors import ModelError, nearest

FAMILIES = (
    "gemma",
    "gemma3_text",
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
)
"""Values of `model_type` whose parameters are counted here, exactly."""

_FOUR_NORMS = ("gemma3_text",)
_HEAD_NORMS = ("qwen3", "qwen3_moe", "gemma3_text")
_ALWAYS_QKV_BIAS = ("qwen2",)


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """What parameters and memory of a decoder-only model follow from."""

    family: str
    """`model_type` of its configuration."""
    hidden: int
    """h."""
    layers: int
    """L."""
    heads: int
    """a."""
    kv_heads: int
    """k."""
    head_dim: int
    """e."""
    intermediate: int
    """f of a dense layer."""
    vocab: int
    """V."""
    tied: bool
    """The LM head is the embedding."""
    qkv_bias: bool = False
    """Biases on the query, key and value projections."""
    output_bias: bool = False
    """A bias on the attention's output projection."""
    mlp_bias: bool = False
    """Biases on the feed-forward projections."""
    experts: int = 0
    """E, experts of a sparse layer; 0 for a dense model."""
    experts_per_token: int = 0
    """Experts that a token goes through."""
    expert_intermediate: int = 0
    """f of one expert."""
    shared_intermediate: int = 0
    """f of the expert that every token goes through (Qwen2-MoE); 0 where there is none."""
    sparse_layers: int = 0
    """Layers with experts; the rest are dense."""
    max_positions: int | None = None
    """The longest input that the model was made for, in tokens."""

    @property
    def query(self) -> int:
        """Width of all queries, a e."""
        return self.heads * self.head_dim

    @property
    def key_value(self) -> int:
        """Width of all keys, k e."""
        return self.kv_heads * self.head_dim

    @property
    def norms_per_layer(self) -> int:
        """RMS norms of width h in a layer."""
        return 4 if self.family in _FOUR_NORMS else 2

    @property
    def head_norms(self) -> bool:
        """Whether queries and keys are normalised per head."""
        return self.family in _HEAD_NORMS

    @property
    def attention_parameters(self) -> int:
        """Of the attention of one layer."""
        h, q, kv = self.hidden, self.query, self.key_value
        weights = h * q + 2 * h * kv + q * h + (2 * self.head_dim if self.head_norms else 0)
        return weights + (q + 2 * kv if self.qkv_bias else 0) + (h if self.output_bias else 0)

    @property
    def dense_parameters(self) -> int:
        """Of one dense feed-forward block: gate, up and down."""
        h, f = self.hidden, self.intermediate
        return 3 * h * f + (2 * f + h if self.mlp_bias else 0)

    @property
    def sparse_parameters(self) -> int:
        """Of one block of experts, with its router and, where there is one, the shared expert and its gate."""
        if not self.experts:
            return 0
        h, shared = self.hidden, self.shared_intermediate
        return self.experts * (3 * h * self.expert_intermediate + h) + (3 * h * shared + h if shared else 0)

    @property
    def largest_layer_parameters(self) -> int:
        """Of the largest decoder layer: what a sharding engine gathers at a time."""
        return self._frame_parameters + (self.sparse_parameters if self.sparse_layers else self.dense_parameters)

    @property
    def _frame_parameters(self) -> int:
        return self.attention_parameters + self.norms_per_layer * self.hidden

    @property
    def root_parameters(self) -> int:
        """Outside of the layers: the embedding, the LM head unless it is the embedding, the final norm."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, each counted once."""
        blocks = self.sparse_layers * self.sparse_parameters
        blocks += (self.layers - self.sparse_layers) * self.dense_parameters
        return self.root_parameters + self.layers * self._frame_parameters + blocks

    @property
    def kv_elements_per_token(self) -> int:
        """Numbers that the KV cache holds for a token: a key and a value in each layer."""
        return 2 * self.layers * self.key_value


def shape_from_config(config: Mapping[str, Any], *, name: str) -> DecoderShape:
    """Read a shape from what a `config.json` holds.

    Args:
        config: The file's content, or `PretrainedConfig.to_dict()`.
        name: What messages call the model.

    Raises:
        ModelError: An architecture that is not counted here, or a configuration without a width that it needs.
    """
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ModelError(
            f"the architecture of {name} is {family}, whose parameters are not counted here; there is "
            f"{', '.join(FAMILIES)}.{nearest(family, FAMILIES)}"
        )
    try:
        heads = int(config["num_attention_heads"])
        layers = int(config["num_hidden_layers"])
        return DecoderShape(
            family=family,
            hidden=int(config["hidden_size"]),
            layers=layers,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            intermediate=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", family.startswith("gemma"))),
            qkv_bias=_qkv_bias(config, family),
            output_bias=family != "qwen2_moe" and bool(config.get("attention_bias", False)),
            mlp_bias=bool(config.get("mlp_bias", False)),
            max_positions=config.get("max_position_embeddings"),
            **_experts(config, family, layers),
        )
    except KeyError as missing:
        raise ModelError(f"the configuration of {name} has no {missing}, so its memory cannot be estimated.") from None


def read_shape(directory: Path, *, name: str) -> DecoderShape:
    """Read a shape from the `config.json` of a model's directory.

    Raises:
        ModelError: The file is missing, damaged, or of an architecture that is not counted here.
    """
    file = directory / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}), so the memory of {name} cannot be estimated.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{file} holds no mapping, so the memory of {name} cannot be estimated.")
    return shape_from_config(config, name=name)


def _qkv_bias(config: Mapping[str, Any], family: str) -> bool:
    if family == "qwen2_moe":
        return bool(config.get("qkv_bias", True))
    return family in _ALWAYS_QKV_BIAS or bool(config.get("attention_bias", False))


def _experts(config: Mapping[str, Any], family: str, layers: int) -> dict[str, int]:
    if family == "mixtral":
        return {
            "experts": int(config["num_local_experts"]),
            "experts_per_token": int(config["num_experts_per_tok"]),
            "expert_intermediate": int(config["intermediate_size"]),
            "sparse_layers": layers,
        }
    if family not in ("qwen2_moe", "qwen3_moe"):
        return {}
    dense = set(config.get("mlp_only_layers") or [])
    step = int(config.get("decoder_sparse_step", 1))
    return {
        "experts": int(config.get("num_experts") or config["num_local_experts"]),
        "experts_per_token": int(config["num_experts_per_tok"]),
        "expert_intermediate": int(config["moe_intermediate_size"]),
        "shared_intermediate": int(config["shared_expert_intermediate_size"]) if family == "qwen2_moe" else 0,
        "sparse_layers": sum(layer not in dense and (layer + 1) % step == 0 for layer in range(layers)),
    }
