"""Decoders that differ from Llama in what a trainer's hooks see: positions, the width at the end, nested layers."""

from __future__ import annotations

import pytest
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM, set_seed

from .conftest import ALPHABET, history

VOCABULARY = {"vocab_size": len(ALPHABET) + 3, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}


def absolute_positions() -> GPT2LMHeadModel:
    set_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
    dropout = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**VOCABULARY, **shape, **dropout))


def projected(**options: int) -> OPTForCausalLM:
    set_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 48, "dropout": 0.0}
    return OPTForCausalLM(OPTConfig(**VOCABULARY, **shape, max_position_embeddings=64, **options))


def prompts_of(*lengths: int) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": ["abcdefgh"[row % 8] * length for row, length in enumerate(lengths)],
            "domain": [("math", "code", "logic")[row % 3] for row in range(len(lengths))],
        }
    )


@pytest.mark.parametrize(
    ("lengths", "sources"),
    [
        ((9, 2, 9, 3), ["forward"]),  # the first rollouts have no padding, others have
        ((6, 6, 6, 6, 6, 2, 9, 3), ["generation", "forward"]),  # padding comes with the second batch
        ((6, 6, 6, 6, 6, 6, 6, 6), ["generation", "generation"]),
    ],
)
def test_padding_that_counts_as_positions_while_training_is_noticed(make_trainer, lengths, sources):
    trainer = make_trainer(
        absolute_positions(),
        dataset=prompts_of(*lengths),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        max_steps=len(sources),
        shuffle_dataset=False,
        max_completion_length=4,
    )
    found: list[str] = []
    run = trainer._pool_phase.run

    def note_source(*arguments, **options):
        found.append(trainer.feature_source_in_use)
        return run(*arguments, **options)

    trainer._pool_phase.run = note_source
    trainer.train()
    assert found == sources


@pytest.mark.parametrize(("layer", "width"), [(-1, 16), (0, 32), (2, 32)])
def test_a_backbone_that_ends_in_a_projection(make_trainer, layer, width):
    trainer = make_trainer(projected(word_embed_proj_dim=16), feature_layer=layer, max_steps=2)
    assert trainer._pool_phase.objective.head.feature_dim == width
    trainer.train()
    assert all(norm > 0 for norm in history(trainer, "contrastive/grad_norm")[1:])
