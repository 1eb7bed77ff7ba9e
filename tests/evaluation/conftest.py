"""A random one-layer Llama over single characters: small enough to generate hundreds of completions in a second."""

import string
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.types import Problem, Status, Verdict

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


def contains_reference(items: Sequence[tuple[str, str, Any]], *, workers: int | None = None) -> list[Verdict]:
    """A stand-in for the verifiers: right when the reference's digit occurs in the completion."""
    right = [str(reference) in completion for _, completion, reference in items]
    return [Verdict(status=Status.CORRECT if x else Status.INCORRECT, reward=float(x), answer="a") for x in right]


@pytest.fixture
def fake_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpo_rl.evaluation.evaluating.verify_batch", contains_reference)
