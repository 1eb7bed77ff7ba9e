"""`mcpo-rl doctor --recipe`: exit codes, what it says, and what it finds wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.optim.optimizer import register_optimizer_step_post_hook

from mcpo_rl.models import measure
from mcpo_rl.models.known_shapes import KNOWN_SHAPES

RECIPE: dict[str, Any] = {
    "model": "Qwen/Qwen3-4B",
    "output_dir": "runs/x",
    "problems": [
        {"source": "procedural", "domain": "math", "split": "train", "count": 10},
        {"source": "procedural", "domain": "logic", "split": "train", "count": 10},
    ],
    "num_generations": 8,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 8,
    "max_completion_length": 4096,
    "bf16": True,
    "report_to": "none",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def recipe(head: str = "", **changes: Any) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(head + yaml.safe_dump({**RECIPE, **changes}))
        return path

    return recipe


def facts(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_what_fits_ends_with_0(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    answer = command("doctor", "--recipe", write(), "--gpus", 8, "--accelerate", "fsdp2", "--gpu-memory", 80)
    assert answer.status == 0
    for part in ("4.022 billion parameters", "8 GPUs, FSDP2; 80 GiB each", "gathered", "Fits by this estimate"):
        assert part in answer.out
    assert "accelerate launch --config_file" in answer.out


def test_what_does_not_fit_ends_with_1_and_what_to_do(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    answer = command("doctor", "--recipe", write(), "--gpus", 1, "--gpu-memory", 40)
    assert answer.status == 1
    assert "Does not fit" in answer.out
    what = answer.out.split("what to do", 1)[1]
    assert "peft: {r: 16, target_modules: all-linear}" in what


def test_every_remedy_holds_when_it_is_followed(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    recipe = write(gradient_checkpointing=False, use_vllm=True, vllm_mode="server")
    words = ("doctor", "--recipe", recipe, "--accelerate", "fsdp2", "--gpu-memory", 40, "--json")
    before = facts(command(*words))
    assert not before["fits"] and before["peak_phase"] == "update"
    told = {remedy["what"]: remedy["peak"] for remedy in before["remedies"]}
    assert "gradient_checkpointing: true" in told
    after = facts(command(*words, "--set", "gradient_checkpointing=true"))
    assert after["fits"] and after["peak_gib"] == told["gradient_checkpointing: true"]


def test_the_launch_line_at_the_head_counts(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    head = "# accelerate launch --config_file recipes/accelerate/deepspeed_zero3_2x8.yaml -m mcpo_rl train this\n"
    found = facts(command("doctor", "--recipe", write(head), "--json"))
    assert (found["engine"], found["gpus"], found["machines"]) == ("zero3", 16, 2)
    found = facts(command("doctor", "--recipe", write(head), "--gpus", 1, "--gpu-memory", 200, "--json"))
    assert (found["engine"], found["gpus"]) == ("one", 1)
    found = facts(command("doctor", "--recipe", write(), "--gpus", 4, "--gpu-memory", 200, "--json"))
    assert (found["engine"], found["gpus"]) == ("ddp", 4)


def test_gpus_of_one_machine_take_the_file_for_one(command: Callable[..., Any]) -> None:
    for gpus in (3, 8):
        found = facts(command("doctor", "--recipe", "qwen2.5-7b-2x8", "--gpus", gpus, "--json"))
        assert (found["gpus"], found["machines"]) == (gpus, 1)
        assert "accelerate/deepspeed_zero3.yaml --num_processes" in found["launch"]
        assert "deepspeed_zero3.yaml in the place of deepspeed_zero3_2x8.yaml" in found["launch_note"]
        assert "--machine_rank" not in found["launch"]
    alone = facts(command("doctor", "--recipe", "qwen2.5-7b-2x8", "--gpus", 1, "--json"))
    assert alone["launch"] == "mcpo-rl train qwen2.5-7b-2x8"


def test_machines_are_those_of_the_file(command: Callable[..., Any]) -> None:
    words = ("doctor", "--recipe", "qwen3-0.6b", "--gpu-memory", 80, "--accelerate", "deepspeed_zero3_2x8")
    found = facts(command(*words, "--gpus", 8, "--json"))
    assert (found["gpus"], found["machines"]) == (8, 2)
    assert "--accelerate deepspeed_zero3 is for one machine" in found["launch_note"]
    assert found["launch"].endswith(
        "2x8.yaml --num_processes 8 --machine_rank $RANK --main_process_ip $HOST0 -m mcpo_rl train qwen3-0.6b"
    )
    assert found["launch_note"] in command(*words, "--gpus", 8).out
    for gpus in (1, 3, 17):
        answer = command(*words, "--gpus", gpus)
        assert answer.status == 2 and "machines of deepspeed_zero3_2x8.yaml: give a multiple of 2" in answer.err
        assert ("--accelerate deepspeed_zero3 is" in answer.err) == (gpus < 8)
        assert len(answer.err.strip().splitlines()) == 1
    more = facts(command("doctor", "--recipe", "qwen3-4b-math-code-logic", "--gpus", 16, "--json"))
    assert more["machines"] == 1 and "fsdp2.yaml has num_machines: 1 with 8 GPUs each" in more["launch_note"]


def test_the_line_for_several_machines_has_what_each_needs(command: Callable[..., Any]) -> None:
    words = ("doctor", "--recipe", "qwen2.5-7b-2x8", "--json")
    launch = facts(command(*words))["launch"]
    for part in ("--machine_rank $RANK", "--main_process_ip $HOST0", "--vllm_server_host $SERVER"):
        assert part in launch
    known = facts(command(*words, "--set", "vllm_server_host=node7"))["launch"]
    assert "--vllm_server_host=node7" in known and "$SERVER" not in known
    flags = facts(command("doctor", "--recipe", "qwen3-0.6b", "--gpus", 16, "--json"))["launch"]
    assert "--multi_gpu --num_machines 2 --main_process_port 29500 --num_processes 16 --machine_rank $RANK" in flags
    assert "$SERVER" not in flags
    answer = command("doctor", "--recipe", "qwen3-0.6b", "--gpus", 9)
    assert answer.status == 2 and "9 GPUs cannot be shared out equally over the 2 machines of 8 GPUs each" in answer.err


def test_a_pool_of_all_ranks(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    words = ("doctor", "--recipe", write(), "--accelerate", "fsdp2", "--json")
    small, large = (facts(command(*words, "--gpus", gpus)) for gpus in (8, 64))
    assert large["step"]["prompts"] == 8 * small["step"]["prompts"] == 256
    assert large["gib"]["pool"]["contrastive"] > small["gib"]["pool"]["contrastive"]
    assert large["gib"]["update"]["weights"] < small["gib"]["update"]["weights"]
    plain = facts(command("doctor", "--recipe", write(method="grpo"), "--json", "--gpu-memory", 200))
    assert "pool" not in plain["gib"]


def test_vllm_without_room(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    recipe = write(use_vllm=True, vllm_gpu_memory_utilization=0.1, vllm_max_model_length=5120)
    answer = command("doctor", "--recipe", recipe, "--accelerate", "fsdp2", "--gpu-memory", 80)
    assert answer.status == 1
    assert "vLLM's share of 8.0 GiB has no room" in answer.out


def test_a_prompt_that_vllm_has_no_room_for(command: Callable[..., Any]) -> None:
    words = ("doctor", "--recipe", "qwen3-0.6b", "--gpu-memory", 80, "--prompt-tokens")
    answer = command(*words, 4000)
    assert answer.status == 2
    assert "--prompt-tokens 4000 and max_completion_length 1024 are 5024 tokens" in answer.err
    assert "more than vllm_max_model_length 2048: set it to 5024" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert command(*words, 1024).status == 0
    assert command(*words, 1025).status == 2
    assert command(*words, 4000, "--set", "vllm_max_model_length=5024").status == 0
    assert command(*words, 4000, "--set", "use_vllm=false", "--set", "vllm_enable_sleep_mode=false").status != 2


@pytest.mark.parametrize("memory", [14, 16])
def test_a_lower_share_makes_room_on_small_gpus(command: Callable[..., Any], memory: int) -> None:
    words = ("doctor", "--recipe", "qwen3-0.6b", "--gpu-memory", memory)
    told = facts(command(*words, "--json"))["remedies"][0]
    assert "vllm_gpu_memory_utilization" in told["what"]
    settings = [setting.replace(": ", "=") for setting in re.findall(r"\w+: [\d.]+", told["what"])]
    after = facts(command(*words, "--json", *(word for setting in settings for word in ("--set", setting))))
    assert after["fits"] and after["peak_gib"] == told["peak"]


def test_a_higher_share_where_vllm_would_not_start(command: Callable[..., Any]) -> None:
    words = ("doctor", "--recipe", "qwen3-0.6b", "--gpu-memory", 24, "--set", "vllm_gpu_memory_utilization=0.05")
    before = facts(command(*words, "--json"))
    assert not before["fits"] and before["remedies"][0]["what"] == "vllm_gpu_memory_utilization: 0.50"
    assert facts(command(*words, "--json", "--set", "vllm_gpu_memory_utilization=0.50"))["fits"]


def test_less_than_a_tenth_free_is_told(command: Callable[..., Any]) -> None:
    words = ("doctor", "--recipe", "qwen3-0.6b", "--set", "vllm_gpu_memory_utilization=0.4", "--gpu-memory")
    tight, roomy = command(*words, 16), command(*words, 24)
    assert tight.status == roomy.status == 0
    assert "Fits by this estimate, with less than a tenth free: 15.1 of 16 GiB" in tight.out
    assert "Fits by this estimate: " in roomy.out
    told = command(*words[:3], "--gpu-memory", 16)
    assert told.status == 1 and "vllm_gpu_memory_utilization: 0.35: 14.6 GiB, less than a tenth free" in told.out


@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"lerning_rate": 1e-6}, (), "unknown key `lerning_rate`. Did you mean `learning_rate`?"),
        ({"problems": [{"hub": "openai/gsm8k", "splt": "train"}]}, (), "splt"),
        (
            {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1},
            ("--gpus", 3),
            "on 3 GPUs: generation_batch_size (9) must be divisible by num_generations (8)",
        ),
        ({"num_generations": 128, "gradient_accumulation_steps": 32}, ("--gpus", 1), "a step has 1 prompts"),
        ({"use_vllm": True, "vllm_tensor_parallel_size": 3}, ("--gpus", 8), "does not divide 8 GPUs"),
        ({"use_vllm": True, "vllm_max_model_length": 4096}, (), "nothing is left for the prompt"),
        ({}, ("--accelerate", "fsdp3"), "no Accelerate configuration fsdp3"),
        ({}, ("--set", "max_steps"), "expected KEY=VALUE"),
        ({}, ("--gpu-memory", "nan"), "--gpu-memory is nan; expected GiB above 0"),
        ({}, ("--gpu-memory", "inf"), "--gpu-memory is inf; expected GiB above 0"),
        ({}, ("--gpu-memory", "-1"), "--gpu-memory is -1; expected GiB above 0"),
        ({}, ("--prompt-tokens", "-4"), "--prompt-tokens is -4; it must be at least 1"),
        ({}, ("--set", "max_completion_length=0"), "max_completion_length is 0; it must be at least 1"),
        ({"use_vllm": True}, ("--set", "vllm_gpu_memory_utilization=1.5"), "vllm_gpu_memory_utilization is 1.5"),
        ({"use_vllm": True}, ("--set", "vllm_gpu_memory_utilization=.nan"), "vllm_gpu_memory_utilization is nan"),
        ({"use_vllm": True}, ("--set", "vllm_tensor_parallel_size=0"), "vllm_tensor_parallel_size is 0"),
        ({"model": "./nowhere/at/all"}, (), "no model directory"),
    ],
)
def test_mistakes_end_with_2_and_one_line(
    command: Callable[..., Any],
    write: Callable[..., Path],
    changes: dict[str, Any],
    words: tuple[Any, ...],
    message: str,
) -> None:
    answer = command("doctor", "--recipe", write(**changes), *words)
    assert answer.status == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_the_other_options_need_a_recipe(command: Callable[..., Any]) -> None:
    answer = command("doctor", "--gpus", 8)
    assert answer.status == 2
    assert "--gpus is about a recipe" in answer.err


def test_a_model_in_a_directory(command: Callable[..., Any], write: Callable[..., Path], model_path: Path) -> None:
    answer = command("doctor", "--recipe", write(model=str(model_path), bf16=False, max_completion_length=16))
    assert answer.status == 0
    assert "this machine's CPU, one process" in answer.out
    assert str(model_path / "config.json") in answer.out


def test_measured_against_a_real_step(
    command: Callable[..., Any], write: Callable[..., Path], model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *rest: steps.append(optimizer))
    monkeypatch.setattr(measure, "_resident_peak", lambda device: 2.0**30 * len(steps))
    recipe = write(model=str(model_path), bf16=False, max_completion_length=16)
    found = facts(command("doctor", "--recipe", recipe, "--json", "--measure"))
    hook.remove()
    assert found["measured"]["measured"] == 2 * 2**30  # two steps of a model of that shape
    answer = command("doctor", "--recipe", write(peft={"r": 8}), "--measure", "--gpu-memory", 80)
    assert answer.status == 2 and "leave out `peft`" in answer.err


def test_known_models_are_told_to_be_known(command: Callable[..., Any], write: Callable[..., Path]) -> None:
    name = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    found = facts(command("doctor", "--recipe", write(model=name), "--gpu-memory", 200, "--json"))
    assert found["parameters"] == KNOWN_SHAPES[name].parameters
    assert found["shape_from"] == "published numbers"
