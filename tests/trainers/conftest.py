"""A tiny random Llama (about 20k parameters), a character tokenizer, three made-up domains and cheap rewards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

ALPHABET = "abcdefgh0123456789+-=? "
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def make_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", "<unk>", *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    fast.chat_template = chat_template
    return fast


def make_model(dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any) -> LlamaForCausalLM:
    set_seed(seed)
    settings = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, **options}
    config = LlamaConfig(
        vocab_size=len(ALPHABET) + 3,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.3,
        **settings,
    )
    return LlamaForCausalLM(config).to(dtype)


def make_dataset(rows: int = 12, domains: tuple[str, ...] = ("math", "code", "logic")) -> Dataset:
    prompts = [f"{ALPHABET[row % 8]}{'+' * (row % 3)}{row}=?" for row in range(rows)]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": prompt}] for prompt in prompts],
            "domain": [domains[row % len(domains)] for row in range(rows)],
            "reference": [str(row) for row in range(rows)],
        }
    )


def parity_reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    """1 where the first token's number is odd: about half of random completions."""
    return [float(ids[0] % 2) for ids in completion_ids]


@pytest.fixture
def make_args(tmp_path: Path) -> Callable[..., MCPOConfig]:
    def build(cls: type = MCPOConfig, **overrides: Any) -> MCPOConfig:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 6,
            "gradient_accumulation_steps": 2,
            "num_generations": 4,
            "max_completion_length": 8,
            "learning_rate": 1e-3,
            "max_steps": 3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "gradient_checkpointing": False,
            "seed": 7,
        }
        return cls(**{**settings, **overrides})

    return build


@pytest.fixture
def make_trainer(make_args: Callable[..., MCPOConfig]) -> Callable[..., MCPOTrainer]:
    def build(
        model: Any = None,
        rewards: Any = parity_reward,
        dataset: Any = None,
        trainer_class: type = MCPOTrainer,
        options: dict[str, Any] | None = None,
        args: Any = None,
        **overrides: Any,
    ) -> Any:
        return trainer_class(
            model if model is not None else make_model(),
            rewards,
            args if args is not None else make_args(**overrides),
            dataset if dataset is not None else make_dataset(),
            processing_class=make_tokenizer(),
            **(options or {}),
        )

    return build


def parameters_of(trainer: Any) -> dict[str, torch.Tensor]:
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {name: copy.deepcopy(parameter.detach()) for name, parameter in model.named_parameters()}


def history(trainer: Any, key: str) -> list[float]:
    return [row[key] for row in trainer.state.log_history if key in row]
