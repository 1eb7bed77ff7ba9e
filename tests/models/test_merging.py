"""Merging: the arithmetic by hand and against naive loops, the files against whole models in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.errors import ConfigError, ModelError, RunError
from mcpo_rl.models.merging import FORMS, MergeOptions, merge, merge_models
from mcpo_rl.models.merging.forms import combined, dropped, elected, trimmed
from mcpo_rl.models.merging.magnitudes import kth_largest_magnitudes

ONES = torch.ones(3, dtype=torch.float64)


# -- the arithmetic ----------------------------------------------------------------------------------------------------


def test_average_by_hand():
    deltas = torch.tensor([[3.0, 0.0], [1.0, 2.0]])
    assert combined(deltas, torch.tensor([1.0, 1.0]), "average").tolist() == [2.0, 1.0]
    assert combined(deltas, torch.tensor([3.0, 1.0]), "average").tolist() == [2.5, 0.5]


def test_election_by_hand():
    # The columns: all agree; two outweigh one; one outweighs two; an exact tie; one alone; nothing.
    deltas = torch.tensor(
        [[1.0, 2.0, -5.0, 1.0, 0.0, 0.0], [2.0, 4.0, 1.0, -1.0, 0.0, 0.0], [3.0, -5.0, 1.0, 0.0, 7.0, 0.0]]
    )
    assert elected(deltas, ONES).tolist() == [2.0, 3.0, -5.0, 0.0, 7.0, 0.0]
    # With weights the election and the mean are weighted: -5 three times outweighs 2 + 4; (1 + 2 + 3 x 3) / 5.
    weighted = elected(deltas, torch.tensor([1.0, 1.0, 3.0]))
    assert weighted[:2].tolist() == pytest.approx([12 / 5, -5.0])


def test_trimming_keeps_the_largest():
    deltas = torch.tensor([[0.1, -0.5, 0.3], [2.0, 1.0, -3.0]])
    assert trimmed(deltas, torch.tensor([0.3, 2.0])).tolist() == [
        pytest.approx([0.0, -0.5, 0.3]),
        pytest.approx([2.0, 0.0, -3.0]),
    ]


@pytest.mark.parametrize("count", [1, 7, 100, 999, 1000])
def test_the_kth_largest_is_exact(count):
    generator = torch.Generator().manual_seed(count)
    pieces = [
        torch.randn(2, size, generator=generator) * 10.0 ** torch.randint(-9, 3, (1,)).item() for size in (300, 650)
    ]
    pieces.append(torch.zeros(2, 50))
    whole = torch.cat(pieces, dim=1).abs()
    found = kth_largest_magnitudes(2, lambda: pieces, lambda elements: count * elements // 1000)
    assert found.tolist() == whole.sort(dim=1, descending=True).values[:, count - 1].tolist()


def test_dropping_keeps_the_mean():
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    deltas = torch.ones(2, 20_000)
    kept = dropped(deltas, 0.25, generators)
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert kept.mean(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=0.05)
    assert not torch.equal(kept[0], kept[1])


def naive_ties(base: list[float], models: list[list[float]], density: float, scale: float) -> list[float]:
    """Yadav et al. 2023, section 3, weight by weight."""
    deltas = [[weight - origin for weight, origin in zip(model, base, strict=True)] for model in models]
    for delta in deltas:
        count = max(1, round(density * len(delta)))
        smallest = sorted((abs(value) for value in delta), reverse=True)[count - 1]
        delta[:] = [value if abs(value) >= smallest else 0.0 for value in delta]
    merged = []
    for place, origin in enumerate(base):
        values = [delta[place] for delta in deltas]
        sign = (sum(values) > 0) - (sum(values) < 0)
        agreeing = [value for value in values if value * sign > 0]
        merged.append(origin + scale * (sum(agreeing) / len(agreeing) if agreeing else 0.0))
    return merged


# -- whole models ------------------------------------------------------------------------------------------------------


def make(path: Path, seed: int | None = None, dtype: torch.dtype = torch.float32, **options: Any) -> LlamaForCausalLM:
    """Save a tiny Llama; with a seed, the base's weights and something added."""
    settings: dict[str, Any] = {"tie_word_embeddings": True, "num_hidden_layers": 2, **options}
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1, **settings
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    if seed is not None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.to(dtype).save_pretrained(path)
    return model


@pytest.fixture
def four(tmp_path: Path) -> list[str]:
    """The base and three models trained from it."""
    make(tmp_path / "base")
    for seed in (1, 2, 3):
        make(tmp_path / f"model-{seed}", seed)
    return [str(tmp_path / name) for name in ("base", "model-1", "model-2", "model-3")]


def weights(path: Path | str) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in AutoModelForCausalLM.from_pretrained(path).named_parameters()}


def test_average_of_whole_models(four, tmp_path):
    report = merge_models(four[0], four[1:], tmp_path / "merged", MergeOptions(weights=(1.0, 1.0, 2.0), scale=0.5))
    base, *others = [weights(path) for path in four]
    found = weights(tmp_path / "merged")
    assert found.keys() == base.keys() and "lm_head.weight" not in found
    for name, origin in base.items():
        deltas = [other[name] - origin for other in others]
        expected = origin + 0.5 * (deltas[0] + deltas[1] + 2 * deltas[2]) / 4
        torch.testing.assert_close(found[name], expected)
    flat = torch.stack(
        [torch.cat([(other[name] - base[name]).flatten() for name in base]) for other in others]
    ).double()
    assert report.norms == pytest.approx(flat.norm(dim=1).tolist())
    expected = torch.nn.functional.cosine_similarity(flat[:, None], flat[None], dim=2)
    torch.testing.assert_close(torch.tensor(report.cosines, dtype=torch.float64), expected, rtol=0, atol=1e-6)
    assert report.parameters == flat.shape[1] and report.kept == [1.0, 1.0, 1.0]
    signs = flat.sign()
    assert report.sign_conflict == pytest.approx(((signs == 1).any(0) & (signs == -1).any(0)).double().mean().item())
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["models"] == four[1:]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_ties_of_whole_models_trims_by_the_whole_model(four, tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "STRETCH", 100)  # tensors in several stretches
    report = merge_models(four[0], four[1:], tmp_path / "merged", MergeOptions(form="ties", density=0.3, scale=1.5))
    models = [load_file(Path(path) / "model.safetensors") for path in four]
    flat = [torch.cat([model[name].flatten() for name in sorted(model)]).tolist() for model in models]
    found = load_file(tmp_path / "merged" / "model.safetensors")
    merged = torch.cat([found[name].flatten() for name in sorted(found)])
    expected = torch.tensor(naive_ties(flat[0], flat[1:], 0.3, 1.5))
    torch.testing.assert_close(merged, expected)
    assert report.kept == pytest.approx([0.3] * 3, abs=1e-3)
    # The share kept differs between tensors: the largest of the whole model, not of each tensor.
    norms = [name for name in found if "norm" in name]
    assert (
        len(
            {
                round((found[name] != models[0][name]).double().mean().item(), 2)
                for name in (norms[0], "model.embed_tokens.weight")
            }
        )
        == 2
    )


def test_dare_drops_the_same_whatever_the_shards(four, tmp_path, monkeypatch):
    options = MergeOptions(form="dare", density=0.5, seed=3)
    merge_models(four[0], four[1:], tmp_path / "one", options)
    monkeypatch.setattr(merge, "SHARD_BYTES", 2000)
    monkeypatch.setattr(merge, "STRETCH", 100)
    report = merge_models(four[0], four[1:], tmp_path / "several", options)
    merge_models(four[0], four[1:], tmp_path / "other", MergeOptions(form="dare", density=0.5, seed=4))
    assert len(list((tmp_path / "several").glob("*.safetensors"))) > 3
    one, several, other = (weights(tmp_path / name) for name in ("one", "several", "other"))
    for name in one:
        assert torch.equal(one[name], several[name])
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert report.kept == pytest.approx([0.5] * 3, abs=0.03)
    index = json.loads((tmp_path / "several" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in one.values())


@pytest.mark.parametrize("form", FORMS)
def test_models_that_are_alike_stay_as_they_are(four, tmp_path, form):
    # Of two equal models, each form keeps the model itself (DARE where nothing is dropped).
    density = None if form == "average" else 1.0
    merge_models(four[0], [four[1], four[1]], tmp_path / "merged", MergeOptions(form=form, density=density))
    expected, found = weights(four[1]), weights(tmp_path / "merged")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_of_bfloat16_the_deltas_are_taken_in_full_precision(tmp_path):
    make(tmp_path / "base", dtype=torch.bfloat16)
    for seed in (1, 2):
        make(tmp_path / f"model-{seed}", seed, dtype=torch.bfloat16)
    paths = [str(tmp_path / name) for name in ("base", "model-1", "model-2")]
    ticks: list[tuple[int, int]] = []
    merge_models(paths[0], paths[1:], tmp_path / "merged", progress=lambda done, total: ticks.append((done, total)))
    files = [load_file(Path(path) / "model.safetensors") for path in [*paths, tmp_path / "merged"]]
    for name, found in files[3].items():
        assert found.dtype == torch.bfloat16
        base, one, two = (file[name].float() for file in files[:3])
        assert torch.equal(found, (base + ((one - base) + (two - base)) / 2).bfloat16())
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"
    assert ticks == [(place + 1, len(files[0])) for place in range(len(files[0]))]


def test_the_type_is_that_of_the_models(tmp_path):
    make(tmp_path / "base", dtype=torch.bfloat16)
    for seed in (1, 2):
        make(tmp_path / f"model-{seed}", seed)
    merge_models(str(tmp_path / "base"), [str(tmp_path / f"model-{seed}") for seed in (1, 2)], tmp_path / "merged")
    assert {tensor.dtype for tensor in load_file(tmp_path / "merged" / "model.safetensors").values()} == {torch.float32}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto").dtype == torch.float32


# -- other ways in which weights lie on disk ---------------------------------------------------------------------------


def test_lora_is_merged_into_the_base_first(four, tmp_path):
    torch.manual_seed(5)
    lora = get_peft_model(
        AutoModelForCausalLM.from_pretrained(four[0]),
        LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    )
    lora.save_pretrained(tmp_path / "lora")
    (tmp_path / "lora" / "chat_template.jinja").write_text("{{ messages }}")
    merge_models(four[0], [str(tmp_path / "lora"), four[1]], tmp_path / "merged")
    whole = {name: parameter.detach() for name, parameter in lora.merge_and_unload().named_parameters()}
    full, found = weights(four[1]), weights(tmp_path / "merged")
    base = weights(four[0])
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (whole[name] + full[name]) / 2)
    changed = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.allclose(whole[changed], base[changed], atol=1e-3)
    assert (tmp_path / "merged" / "chat_template.jinja").is_file()
    assert not (tmp_path / "merged" / "adapter_config.json").exists()


def test_tied_weights_under_their_second_name_are_left_out(four, tmp_path):
    for path in four[:2]:  # as some publish them, and transformers saves them no more
        tensors = load_file(Path(path) / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, Path(path) / "model.safetensors", metadata={"format": "pt"})
    merge_models(four[0], four[1:3], tmp_path / "merged")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert "lm_head.weight" not in found
    one, two = (load_file(Path(path) / "model.safetensors") for path in four[1:3])
    name = "model.embed_tokens.weight"
    torch.testing.assert_close(found[name], (one[name] + two[name]) / 2)


def test_untied_heads_are_merged(tmp_path):
    make(tmp_path / "base", tie_word_embeddings=False)
    for seed in (1, 2):
        make(tmp_path / f"model-{seed}", seed, tie_word_embeddings=False)
    merge_models(str(tmp_path / "base"), [str(tmp_path / f"model-{seed}") for seed in (1, 2)], tmp_path / "merged")
    one, two, found = (weights(tmp_path / name)["lm_head.weight"] for name in ("model-1", "model-2", "merged"))
    torch.testing.assert_close(found, (one + two) / 2)


def test_weights_in_shards_and_in_other_formats(four, tmp_path):
    expected = tmp_path / "expected"
    merge_models(four[0], four[1:3], expected)
    AutoModelForCausalLM.from_pretrained(four[1]).save_pretrained(tmp_path / "sharded", max_shard_size="2KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 3
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((Path(four[0]) / "config.json").read_bytes())
    torch.save(load_file(Path(four[0]) / "model.safetensors"), pickled / "pytorch_model.bin")
    merge_models(str(pickled), [str(tmp_path / "sharded"), four[2]], tmp_path / "merged")
    one, other = weights(expected), weights(tmp_path / "merged")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_tokenizer_is_the_first_models(four, tmp_path):
    for place, path in enumerate(four[:2]):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
        tokenizer.chat_template = f"template {place}"
        tokenizer.save_pretrained(path)
    (Path(four[0]) / "special.txt").write_text("of the base")
    (Path(four[1]) / "trainer_state.json").write_text("{}")
    (Path(four[1]) / "optimizer.pt").write_text("")
    merge_models(four[0], four[1:], tmp_path / "merged")
    found = {path.name for path in (tmp_path / "merged").iterdir()}
    assert (tmp_path / "merged" / "chat_template.jinja").read_text() == "template 1"
    assert "special.txt" in found and "tokenizer.json" in found
    assert not {"trainer_state.json", "optimizer.pt"} & found


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "tie"}, "Did you mean `ties`"),
        ({"form": "ties", "density": 0.0}, r"\(0, 1\]"),
        ({"density": 0.5}, "`average` keeps all"),
        ({"scale": float("nan")}, "finite"),
        ({"weights": (1.0, -1.0)}, "> 0"),
    ],
)
def test_options_that_cannot_work(options, words):
    with pytest.raises(ConfigError, match=words):
        MergeOptions(**options)


def test_too_few_models_or_weights(four, tmp_path):
    with pytest.raises(ConfigError, match="two models or more; 1 given"):
        merge_models(four[0], four[1:2], tmp_path / "merged")
    with pytest.raises(ConfigError, match="2 weights for 3 models"):
        merge_models(four[0], four[1:], tmp_path / "merged", MergeOptions(weights=(1.0, 2.0)))


def test_models_of_another_base(four, tmp_path):
    for name, options, words in (
        ("deeper", {"num_hidden_layers": 3}, "also has model.layers.2.input_layernorm.weight and 8 more"),
        ("wider", {"intermediate_size": 32}, r"is \(16, 32\), the base's is \(16, 24\)"),
        ("untied", {"tie_word_embeddings": False}, "also has lm_head.weight"),
    ):
        config = LlamaConfig.from_pretrained(four[0], **options)
        LlamaForCausalLM(config).save_pretrained(tmp_path / name)
        with pytest.raises(ModelError, match=words):
            merge_models(four[0], [four[1], str(tmp_path / name)], tmp_path / "merged")
        assert not (tmp_path / "merged").exists()


def test_broken_weights(four, tmp_path):
    tensors = load_file(Path(four[2]) / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, Path(four[2]) / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"model-2 .*NaN or infinite weights in model.norm.weight"):
        merge_models(four[0], four[1:], tmp_path / "merged")
    with (Path(four[3]) / "model.safetensors").open("rb+") as file:
        file.truncate(200)
    with pytest.raises(ModelError, match=r"model-3 cannot be read: .*damaged"):
        merge_models(four[0], [four[1], four[3]], tmp_path / "merged")
    (Path(four[3]) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="model-3"):
        merge_models(four[0], [four[1], four[3]], tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "model-1", "model-2", "model-3"]


def test_quantized_models_and_unknown_names(four, tmp_path):
    with pytest.raises(ModelError, match="no model directory"):
        merge_models("./nowhere", four[1:], tmp_path / "merged")
    config = json.loads((Path(four[0]) / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (Path(four[0]) / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="full precision"):
        merge_models(four[0], four[1:], tmp_path / "merged")


def test_nothing_is_written_over_and_nothing_half_written_stays(four, tmp_path, monkeypatch):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        merge_models(four[0], four[1:], tmp_path / "merged")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merge, "save_file", full)
    with pytest.raises(RunError, match="No space left on device"):
        merge_models(four[0], four[1:], tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "merged", "model-1", "model-2", "model-3"]
