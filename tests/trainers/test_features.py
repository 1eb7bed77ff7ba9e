"""Hidden states from decoding equal those of a forward pass; where they cannot, the forward pass takes over."""

from __future__ import annotations

import pytest
import torch

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.trainers.trl.features.generation import GenerationMismatch, GenerationTap
from mcpo_rl.trainers.trl.features.hidden_states import find_backbone, find_feature_module, inference, pool_completion
from mcpo_rl.trainers.trl.features.source import FeatureReader

from .conftest import make_model


def generate(model, prompts, new_tokens, seed=0, **options):
    torch.manual_seed(seed)
    mask = (prompts != 0).long()
    out = model.generate(
        input_ids=prompts, attention_mask=mask, max_new_tokens=new_tokens, do_sample=True, pad_token_id=0, **options
    )
    completions = []
    for row in out[:, prompts.shape[1] :].tolist():
        completions.append(row[: row.index(1) + 1] if 1 in row else row)
    return completions


def forward_features(model, prompts, completions, pooling="mean", layer=-1):
    width = max(map(len, completions))
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in completions])
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in completions])
    attention = torch.cat([(prompts != 0).long(), mask], dim=1)
    with torch.no_grad():
        states = model.model(
            input_ids=torch.cat([prompts, ids], dim=1), attention_mask=attention, output_hidden_states=True
        )
    hidden = states.last_hidden_state if layer == -1 else states.hidden_states[layer + 1]
    return pool_completion(hidden, mask, pooling)


PADDED = torch.tensor([[0, 0, 4, 5], [4, 5, 6, 7], [0, 9, 8, 7], [3, 3, 3, 4], [0, 0, 0, 6], [5, 6, 5, 6]])
EQUAL = torch.tensor([[4, 5, 6, 7]] * 6)


@pytest.mark.parametrize("prompts", [PADDED, EQUAL], ids=["padded", "equal"])
@pytest.mark.parametrize("new_tokens", [1, 2, 12, 40])
@pytest.mark.parametrize(("pooling", "layer"), [("mean", -1), ("last", -1), ("mean", 0), ("last", 0)])
def test_decoding_gives_the_features_of_a_forward_pass(prompts, new_tokens, pooling, layer):
    model, lengths = make_model(torch.float64), set()
    for seed in range(4):
        with GenerationTap(model, layer, pooling, [1]) as tap:
            completions = generate(model, prompts, new_tokens, seed)
            with inference(model):
                found = tap.features(completions)
        expected = forward_features(model, prompts, completions, pooling, layer)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        lengths |= {len(ids) for ids in completions}
    assert new_tokens < 12 or len(lengths) > 2


@pytest.mark.parametrize("change", [lambda ids: [9, *ids[1:]], lambda ids: [*ids, 4, 5], lambda ids: ids[:-2]])
def test_other_completions_are_noticed(change):
    model = make_model()
    with GenerationTap(model, -1, "mean", [1]) as tap:
        completions = generate(model, EQUAL, 8)
        longest = max(range(6), key=lambda row: len(completions[row]))
        completions[longest] = change(completions[longest])
        with inference(model), pytest.raises(GenerationMismatch):
            tap.features(completions)


def test_beams_are_noticed():
    model = make_model()
    with GenerationTap(model, -1, "mean", [1]) as tap:
        completions = generate(model, PADDED, 6, num_beams=2)
        with pytest.raises(GenerationMismatch):
            tap.features(completions)


def test_no_cache_is_noticed():
    model = make_model()
    with GenerationTap(model, -1, "mean", [1]) as tap:
        completions = generate(model, PADDED, 6, use_cache=False)
        with pytest.raises(GenerationMismatch, match="cache"):
            tap.features(completions)


def test_nothing_of_the_tap_stays_on_the_model():
    model = make_model()
    with GenerationTap(model, 0, "mean", [1]):
        generate(model, PADDED, 3)
    assert not any(module._forward_hooks for module in model.modules())


def test_training_falls_back_where_decoding_differs(make_trainer, monkeypatch, caplog):
    original = GenerationTap.features
    monkeypatch.setattr(GenerationTap, "features", lambda self, ids: original(self, ids) * 1.1)
    trainer = make_trainer()
    trainer.train()
    assert trainer.feature_source_in_use == "training"
    assert sum("differ from a forward pass" in record.message for record in caplog.records) == 1


def test_training_falls_back_without_a_cache(make_trainer, caplog):
    trainer = make_trainer(generation_kwargs={"use_cache": False})
    trainer.train()
    assert trainer.feature_source_in_use == "training"
    assert sum("cannot be taken from decoding" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("sharded", [False, True])
def test_forward_features_of_uneven_rows(make_trainer, monkeypatch, sharded):
    # Sharded engines call the model through its wrapper, with the fused LM head that scores nothing.
    monkeypatch.setattr("mcpo_rl.trainers.trl.features.source.is_sharded", lambda trainer: sharded)
    trainer = make_trainer(make_model(torch.float64))
    prompts = PADDED
    completions = [[5, 6, 7, 1], [8], [9, 1], [3, 4, 5, 6, 7], [1], [4, 4, 4]]
    width = max(map(len, completions))
    batch = {
        "prompt_ids": prompts,
        "prompt_mask": (prompts != 0).long(),
        "completion_ids": torch.tensor([ids + [0] * (width - len(ids)) for ids in completions]),
        "completion_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in completions]),
    }
    found = FeatureReader(trainer).forward(batch)
    expected = forward_features(trainer.model, prompts, completions)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    some = FeatureReader(trainer).forward(batch, [3, 1])
    torch.testing.assert_close(some, expected[[3, 1]], rtol=1e-9, atol=1e-9)
    assert trainer.model.training  # as it was


def test_tool_tokens_are_left_out(make_trainer):
    trainer = make_trainer(make_model(torch.float64))
    batch = {
        "prompt_ids": EQUAL[:1],
        "prompt_mask": torch.ones(1, 4, dtype=torch.long),
        "completion_ids": torch.tensor([[5, 6, 7]]),
        "completion_mask": torch.ones(1, 3, dtype=torch.long),
        "tool_mask": torch.tensor([[1, 0, 1]]),
    }
    found = FeatureReader(trainer).forward(batch)
    with torch.no_grad():
        states = trainer.model.model(torch.tensor([[4, 5, 6, 7, 5, 6, 7]])).last_hidden_state
    torch.testing.assert_close(found, (states[:, 4] + states[:, 6]) / 2)


def test_reading_features_moves_no_random_state(make_trainer):
    trainer = make_trainer(make_model(attention_dropout=0.5))
    trainer.model.train()
    before = torch.get_rng_state()
    batch = {
        "prompt_ids": EQUAL,
        "prompt_mask": torch.ones(6, 4, dtype=torch.long),
        "completion_ids": EQUAL,
        "completion_mask": torch.ones(6, 4, dtype=torch.long),
    }
    first = FeatureReader(trainer).forward(batch)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, FeatureReader(trainer).forward(batch))


def test_old_log_probs_are_refused_where_there_are_none(make_trainer):
    with pytest.raises(ConfigError, match="TRL computes none in this configuration"):
        make_trainer(feature_source="old_logps").train()


def test_layers_that_are_not_there(make_trainer):
    with pytest.raises(ConfigError, match=r"feature_layer is 2; expected -1 .* or 0 to 1"):
        make_trainer(feature_layer=2)


def test_models_without_a_backbone():
    with pytest.raises(ModelError, match="no backbone"):
        find_backbone(torch.nn.Linear(2, 2))


def test_layers_are_found():
    model = make_model()
    assert find_feature_module(model, -1) is model.model
    assert find_feature_module(model, 1) is model.model.layers[1]
