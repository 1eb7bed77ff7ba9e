"""From a name to a generator: LoRAs, base models, engines, and what is refused."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.errors import ConfigError, MissingDependencyError, ModelError, ProblemError
from mcpo_rl.evaluation import Generated, Generator, PromptFormat, Sampling
from mcpo_rl.evaluation.loading import EngineOptions, chosen_engine, load_generator, weights_fingerprint
from mcpo_rl.models import load_model_and_tokenizer, load_tokenizer

PROMPTS = [[{"role": "user", "content": text}] for text in ("1+1?", "2+11?", "what is 3+1?") for _ in range(2)]
STANDIN = Path(__file__).parent / "vllm_standin"


@pytest.fixture
def saved(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    path = tmp_path / "base"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def lora(saved: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A LoRA with a part in every weight that it may touch, as a trainer saves it."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(saved), LoraConfig(r=2, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path / "lora")
    tokenizer.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(STANDIN)
    yield importlib.import_module("vllm")
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def complete(generator: Generator, sampling: Sampling, done: frozenset[int] = frozenset()) -> dict[int, Generated]:
    return dict(pair for batch in generator.generate(PROMPTS, sampling, done=done) for pair in batch)


GREEDY = Sampling(temperature=0.0, max_new_tokens=8)


class TestLora:
    def test_is_the_base_with_its_part_merged(self, saved: Path, lora: Path) -> None:
        merged, _ = load_model_and_tokenizer(str(lora))
        whole = get_peft_model(
            AutoModelForCausalLM.from_pretrained(saved), LoraConfig(r=2, target_modules="all-linear")
        )
        whole.load_adapter(lora, "default")
        ids = torch.arange(3, 20)[None]
        with torch.no_grad():
            expected, before = whole.eval()(ids).logits, AutoModelForCausalLM.from_pretrained(saved)(ids).logits
            torch.testing.assert_close(merged(ids).logits, expected)
        assert not torch.allclose(expected, before, atol=0.1), "the test needs a LoRA that does something"
        assert type(merged) is LlamaForCausalLM and not merged.training

    def test_evaluates_differently_from_its_base(self, saved: Path, lora: Path) -> None:
        answers = [complete(load_generator(str(path)), GREEDY) for path in (saved, lora)]
        assert answers[0] != answers[1]

    def test_another_base(self, saved: Path, lora: Path, tmp_path: Path) -> None:
        moved = saved.rename(tmp_path / "moved")
        with pytest.raises(ModelError, match=f"{saved}"):
            load_generator(str(lora))
        assert load_generator(str(lora), EngineOptions(base=str(moved))).model == str(lora)
        with pytest.raises(ModelError, match="is no LoRA"):
            load_generator(str(moved), EngineOptions(base=str(moved)))

    def test_tokenizer_of_the_base_where_the_lora_has_none(self, lora: Path) -> None:
        (lora / "tokenizer_config.json").unlink()
        (lora / "tokenizer.json").unlink()
        assert load_tokenizer(str(lora)).chat_template

    def test_a_base_that_it_does_not_fit(self, lora: Path) -> None:
        with pytest.raises(ModelError, match="could not be put on the base model"):
            load_generator(str(lora), EngineOptions(base="builtin:tiny"))

    def test_without_a_base(self, lora: Path) -> None:
        config = json.loads((lora / "adapter_config.json").read_text())
        (lora / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
        with pytest.raises(ModelError, match="does not say which base model"):
            load_generator(str(lora))

    def test_without_peft(self, lora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mcpo_rl.models.lora.importlib.util.find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match=r"mcpo-rl\[peft\]"):
            load_generator(str(lora))


class TestBaseModels:
    def test_plain_prompts_need_no_chat_template(self, saved: Path) -> None:
        (saved / "chat_template.jinja").unlink()
        with pytest.raises(ModelError, match="no chat template"):
            load_generator(str(saved))
        plain = load_generator(str(saved), EngineOptions(prompt_format=PromptFormat(form="plain")))
        assert plain.settings["prompt_format"] == "plain" and len(complete(plain, GREEDY)) == 6

    def test_what_is_written(self, tokenizer: PreTrainedTokenizerFast) -> None:
        prompt = [{"role": "system", "content": "add. "}, {"role": "user", "content": "1+1?"}]
        plain, chat = (PromptFormat(form=form).encode(tokenizer, [prompt])[0] for form in ("plain", "chat"))
        assert tokenizer.decode(plain) == "add.\n\n1+1?\n" and tokenizer.decode(chat) == "add. |1+1?|:"

    def test_arguments_of_the_template(
        self, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        template = "{% if think %}t{% endif %}{{ messages[0]['content'] }}"
        monkeypatch.setattr(tokenizer, "chat_template", template)
        written = PromptFormat(chat_template_kwargs={"think": True})
        assert tokenizer.decode(written.encode(tokenizer, [[{"role": "user", "content": "1"}]])[0]) == "t1"
        assert written.to_settings() == {"chat_template_kwargs": {"think": True}}
        with pytest.raises(ConfigError, match="`plain` takes none"):
            PromptFormat(form="plain", chat_template_kwargs={"enable_thinking": False})


class TestVLLM:
    def test_greedy_gives_what_transformers_gives(self, saved: Path, vllm: ModuleType) -> None:
        expected = complete(load_generator(str(saved)), GREEDY)
        generator = load_generator(str(saved), EngineOptions(engine="vllm", batch_size=4))
        assert complete(generator, GREEDY) == expected
        assert any(done.truncated for done in expected.values())
        assert vllm.MADE[-1].waves == [4, 2]
        assert generator.settings["engine"] == "vllm" and generator.model == str(saved)

    def test_a_completion_does_not_depend_on_the_others(self, saved: Path, vllm: ModuleType) -> None:
        generator = load_generator(str(saved), EngineOptions(engine="vllm"))
        sampling = Sampling(max_new_tokens=12, seed=4)
        whole, part = complete(generator, sampling), complete(generator, sampling, frozenset({0, 3, 5}))
        assert part == {row: whole[row] for row in (1, 2, 4)}
        assert whole != complete(generator, Sampling(max_new_tokens=12, seed=5))
        assert whole[0] != whole[1], "two samples of one problem"
        assert {done.truncated for done in whole.values()} == {True, False}
        assert all(done.tokens == 12 for done in whole.values() if done.truncated)
        assert not any("<eos>" in done.text for done in whole.values())

    def test_a_lora_is_merged_for_it(self, lora: Path, vllm: ModuleType) -> None:
        expected = complete(load_generator(str(lora)), GREEDY)
        before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("mcpo-rl-merged-*"))
        generator = load_generator(str(lora), EngineOptions(engine="vllm"))
        assert complete(generator, GREEDY) == expected and generator.model == str(lora)
        assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("mcpo-rl-merged-*")) <= before

    def test_refusals(self, saved: Path, vllm: ModuleType) -> None:
        with pytest.raises(ModelError, match="No available memory"):
            load_generator(str(saved), EngineOptions(engine="vllm", gpu_memory_utilization=0.05))
        short = load_generator(str(saved), EngineOptions(engine="vllm", max_model_len=20))
        with pytest.raises(ProblemError, match="context of 20"):
            complete(short, GREEDY)

    def test_not_installed(self, saved: Path) -> None:
        with pytest.raises(MissingDependencyError, match=r"mcpo-rl\[vllm\]"):
            load_generator(str(saved), EngineOptions(engine="vllm"))

    @pytest.mark.parametrize(("gpu", "engine"), [(True, "vllm"), (False, "transformers")])
    def test_taken_where_it_is_installed_and_there_is_a_gpu(
        self, saved: Path, vllm: ModuleType, monkeypatch: pytest.MonkeyPatch, gpu: bool, engine: str
    ) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
        assert chosen_engine(str(saved), EngineOptions()) == engine
        assert chosen_engine(str(saved), EngineOptions(device="cuda")) == "transformers"
        assert chosen_engine("builtin:tiny", EngineOptions()) == "transformers"


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"engine": "sglang"}, "not 'sglang'"),
            ({"batch_size": 0}, "`batch_size`"),
            ({"tensor_parallel_size": 0}, "`tensor_parallel_size`"),
            ({"gpu_memory_utilization": 1.5}, "`gpu_memory_utilization`"),
        ],
    )
    def test_refused(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            EngineOptions(**options)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("device", "message"), [("gpu0", "not 'gpu0'"), ("cuda:99", "no device cuda:99")])
    def test_devices(self, device: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            load_generator("builtin:tiny", EngineOptions(device=device))

    def test_weights_written_anew_are_told(self, saved: Path) -> None:
        before = weights_fingerprint(str(saved))
        assert before == weights_fingerprint(str(saved)) == load_generator(str(saved)).settings["weights"]
        file = saved / "model.safetensors"
        os.utime(file, ns=(1, 1))
        assert weights_fingerprint(str(saved)) != before
        assert weights_fingerprint("Qwen/Qwen3-4B") == ""


def test_loading_a_generator_needs_no_trainer() -> None:
    heavy = "('torch', 'trl', 'transformers')"
    code = f"import sys, mcpo_rl.evaluation.loading; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
