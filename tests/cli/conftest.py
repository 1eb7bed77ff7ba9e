"""A random one-layer Llama over characters, a short recipe for it, and the command as a function."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.cli import main

TEMPLATE = "{% for m in messages %}{{ m['content'] }}|{% endfor %}{% if add_generation_prompt %}:{% endif %}"


@dataclass(frozen=True)
class Answer:
    """What one command line gave."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    def call(*words: Any) -> Answer:
        capfd.readouterr()
        status = main([str(word) for word in words])
        return Answer(status, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    characters = string.ascii_letters + string.digits + string.punctuation + " \n"
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", "<unk>", *characters])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=512,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            initializer_range=0.2,
        )
        LlamaForCausalLM(config).save_pretrained(path)
    return path


@pytest.fixture
def problems_file(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    logic = {"kind": "yes_no", "answer": "yes"}
    rows = [{"domain": "math", "prompt": f"{n} + 1 = ?", "reference": str(n + 1)} for n in range(6)]
    rows += [{"domain": "logic", "prompt": f"Is {n} a number?", "reference": logic} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recipe(tmp_path: Path, model_path: Path, problems_file: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    content = {
        "model": str(model_path),
        "output_dir": str(tmp_path / "run"),
        "seed": 3,
        "problems": [{"path": str(problems_file)}],
        "max_steps": 4,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "max_completion_length": 6,
        "learning_rate": 0.01,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "log_rollouts_steps": 2,
        "save_strategy": "no",
        "contrastive_warmup_steps": 0,
    }
    path.write_text(yaml.safe_dump(content))
    return path
