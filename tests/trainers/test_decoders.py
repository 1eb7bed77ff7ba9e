"""Decoders that differ from Llama in what a trainer's hooks see: positions, the width at the end, nested layers."""

from __future__ import annotations

import warnings

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    set_seed,
)

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.trainers.trl.features.hidden_states import hidden_of

from .conftest import ALPHABET, history, make_model
from .test_exact_gradient import compare

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
        ((9, 2, 9, 3), ["training"]),  # the first rollouts have no padding, others have
        ((6, 6, 6, 6, 6, 2, 9, 3), ["generation", "training"]),  # padding comes with the second batch
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


def rotary(kind: str) -> LlamaForCausalLM:
    model = make_model(num_hidden_layers=3)
    config = model.config
    config.rope_parameters = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "longrope":
        config.rope_parameters |= {
            "short_factor": [1.0] * 4,
            "long_factor": [1.5, 3.0, 6.0, 12.0],
            "original_max_position_embeddings": WIDE,
        }
    config.max_position_embeddings = config.original_max_position_embeddings = WIDE
    wide = LlamaForCausalLM(config)
    wide.load_state_dict(model.state_dict())
    return wide


WIDE = 14
"""Tokens above which the rotary embeddings change: between the short rollouts and the long ones."""


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_depend_on_the_longest_rollout(make_trainer, kind):
    trainer, error = compare(make_trainer, dtype=torch.float32, model=rotary(kind), seed=1, feature_source="auto")
    assert trainer.feature_source_in_use == "training"  # decoding does not know how long the longest will be
    assert error < 1e-4
    with pytest.raises(ConfigError, match="rotary embeddings depend on the longest rollout"):
        make_trainer(rotary(kind), feature_source="generation")


def test_hidden_states_of_another_form():
    with pytest.raises(ModelError, match=r"shape \(4, 2, 5, 8\); expected \(rows, tokens, width\)"):
        hidden_of(torch.zeros(4, 2, 5, 8))


def test_nothing_trained_below_the_features(make_trainer):
    lora = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[1])
    trainer = make_trainer(options={"peft_config": lora}, feature_layer=0)
    with pytest.raises(ConfigError, match="Nothing that is trained lies below the hidden states"):
        trainer.train()


def test_dropout_is_warned_of(make_trainer):
    with pytest.warns(UserWarning, match=r"trains with dropout \(up to 0.1\)"):
        make_trainer(options={"peft_config": LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.1)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make_trainer()


def test_an_encoder_decoder_is_refused(make_trainer):
    set_seed(0)
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "dropout": 0.0}
    model = BartForConditionalGeneration(BartConfig(**{**VOCABULARY, "vocab_size": 40}, **shape, **heads))
    with pytest.raises(ConfigError, match="Encoder-decoder models cannot be trained"):
        make_trainer(model)
