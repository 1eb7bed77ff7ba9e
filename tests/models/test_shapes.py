"""Shapes: the count of parameters is that of real models, exactly, and shapes are found without loading any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.models import TINY
from mcpo_rl.models.known_shapes import KNOWN_SHAPES
from mcpo_rl.models.shape_lookup import find_shape, lora_parameters
from mcpo_rl.models.shapes import FAMILIES, shape_from_config

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("mistral", {"head_dim": 16}),
    ("qwen2", {}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"head_dim": 16}),
    ("qwen3", {"head_dim": 16, "attention_bias": True}),
    ("gemma", {"head_dim": 16}),
    ("gemma3_text", {"head_dim": 16}),
    ("mixtral", {"num_local_experts": 4}),
    ("qwen2_moe", EXPERTS | {"shared_expert_intermediate_size": 40}),
    ("qwen3_moe", EXPERTS | {"mlp_only_layers": [1], "head_dim": 16}),
    ("qwen3_moe", EXPERTS | {"decoder_sparse_step": 2, "head_dim": 16}),
]


def on_meta(family: str, options: dict[str, Any]) -> Any:
    config = AutoConfig.for_model(family, **SMALL, **options)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def count(model: Any, wanted: Callable[[Any], bool] = lambda parameter: True) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if wanted(parameter))


@pytest.mark.parametrize(("family", "options"), CASES)
def test_the_count_is_that_of_the_model(family: str, options: dict[str, Any]) -> None:
    model = on_meta(family, options)
    shape = shape_from_config(model.config.to_dict(), name=family)
    assert shape.parameters == count(model)  # parameters() gives tied ones once
    layers = [count(layer) for layer in model.base_model.layers]
    assert shape.largest_layer_parameters == max(layers)
    assert shape.root_parameters == count(model) - sum(layers)


def test_every_family_is_tried() -> None:
    assert {family for family, _ in CASES} == set(FAMILIES)


PUBLISHED = {
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": 7_615_616_512,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
}
"""Sizes that the hub gives for the published weights, tied embeddings counted once."""


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_sizes(name: str) -> None:
    assert KNOWN_SHAPES[name].parameters == PUBLISHED[name]


def test_a_directory_is_read(tmp_path: Path) -> None:
    model = on_meta("qwen3", {"head_dim": 16})
    model.config.save_pretrained(tmp_path)
    shape, origin = find_shape(str(tmp_path))
    assert shape.parameters == count(model)
    assert origin == str(tmp_path / "config.json")


def test_bundled_models() -> None:
    tiny, _ = find_shape("builtin:tiny")
    model = AutoModelForCausalLM.from_pretrained(TINY)
    assert tiny.parameters == count(model)
    assert find_shape("builtin:smollm2-135m")[0] is KNOWN_SHAPES["HuggingFaceTB/SmolLM2-135M-Instruct"]


def test_a_model_that_nobody_knows_here(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*arguments: Any, **options: Any) -> str:
        raise OSError("the hub cannot be reached\nmore lines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(ModelError, match=r"Qwen/Qwen3-4BB is not known here .*cannot be reached\).*Qwen/Qwen3-4B"):
        find_shape("Qwen/Qwen3-4BB")


def test_an_architecture_that_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 768}))
    with pytest.raises(ModelError, match=r"architecture of .* is gpt2"):
        find_shape(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "num_attention_heads": 4}))
    with pytest.raises(ModelError, match="has no 'num_hidden_layers'"):
        find_shape(str(tmp_path))


@pytest.mark.parametrize(
    ("family", "options", "arguments"),
    [
        ("llama", {}, {"r": 4, "target_modules": "all-linear"}),
        ("qwen3", {"head_dim": 16}, {"r": 8, "target_modules": ["q_proj", "down_proj"]}),
        ("qwen2", {}, {}),  # PEFT's own rank and modules
        ("qwen3_moe", EXPERTS | {"head_dim": 16}, {"r": 2, "target_modules": ["k_proj", "o_proj"]}),
    ],
)
def test_lora_trains_as_many(family: str, options: dict[str, Any], arguments: dict[str, Any]) -> None:
    model = on_meta(family, options)
    shape = shape_from_config(model.config.to_dict(), name=family)
    wrapped = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **arguments))
    assert lora_parameters(shape, arguments) == count(wrapped, lambda parameter: parameter.requires_grad)


def test_lora_on_modules_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match=r"q_prj.*q_proj"):
        lora_parameters(KNOWN_SHAPES["Qwen/Qwen3-4B"], {"target_modules": ["q_prj"]})
    with pytest.raises(ConfigError, match=r"all-linear.*q_proj, k_proj, v_proj, o_proj"):
        lora_parameters(KNOWN_SHAPES["Qwen/Qwen3-30B-A3B"], {"target_modules": "all-linear"})
