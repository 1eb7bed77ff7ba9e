"""A random one-layer Llama over single characters: small enough to generate hundreds of completions in a second."""

import string

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.types import Problem

from .standins import StandInService

TEMPLATE = "{% for m in messages %}{{ m['content'] }}|{% endfor %}{% if add_generation_prompt %}:{% endif %}"


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    characters = string.ascii_lowercase + string.digits + " +-*=?.,:|\n"
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<eos>", "<unk>", *characters])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).train()


@pytest.fixture
def problems() -> list[Problem]:
    return [
        Problem(
            domain=domain,
            prompt=[{"role": "user", "content": f"{number}+{'1' * (number + 1)}?"}],
            reference=str(number),
            id=f"{domain}-{number}",
            source="sums",
        )
        for domain in ("math", "logic")
        for number in range(3)
    ]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> StandInService:
    made = StandInService()
    monkeypatch.setattr("mcpo_rl.evaluation.judging.shared_service", lambda: made)
    return made
