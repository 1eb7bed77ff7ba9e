"""Every shipped recipe: valid against the installed classes, without vLLM, PEFT weights or a GPU."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from trl.scripts.vllm_serve import ScriptArguments, build_command

from mcpo_rl.cli.doctor_launch import find_launch
from mcpo_rl.cli.doctor_plan import check_recipe, run_plan
from mcpo_rl.cli.trainer_config import training_config
from mcpo_rl.config import Recipe, check_fields, load_recipe, shipped_recipes
from mcpo_rl.config.recipe import RECIPES
from mcpo_rl.data.schemas.catalogue import HUB
from mcpo_rl.domains import DOMAINS
from mcpo_rl.models.memory import GIB, estimate_gpu, peak
from mcpo_rl.models.shape_lookup import find_shape
from mcpo_rl.trainers.trl import MCPOConfig

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
GPU_ONLY = {"bf16": False, "use_vllm": False, "vllm_enable_sleep_mode": False}
"""What a machine without GPU and vLLM refuses; everything else is used as the recipe has it."""
CHANGED_BY_TRANSFORMERS = {"report_to", "accelerator_config"}
"""A word becomes a list, a mapping an object."""
SMALLEST_GPU = {"qwen3-0.6b": 24, "qwen3-1.7b-lora": 24}
"""GiB that the head of a recipe promises; 80 where it is not here."""
ACCELERATE = {
    "ddp": ("MULTI_GPU", "ddp", 8, 1),
    "deepspeed_zero2": ("DEEPSPEED", "zero2", 8, 1),
    "deepspeed_zero3": ("DEEPSPEED", "zero3", 8, 1),
    "deepspeed_zero3_2x8": ("DEEPSPEED", "zero3", 16, 2),
    "fsdp2": ("FSDP", "fsdp", 8, 1),
    "fsdp2_2x8": ("FSDP", "fsdp", 16, 2),
}
"""Each Accelerate configuration: its engine in Accelerate's word and in ours, GPUs, machines."""
SBATCH = RECIPES / "slurm" / "2x8.sbatch"


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_names_and_types(name: str) -> None:
    recipe = load_recipe(name)
    check_fields(recipe.training, typing.get_type_hints(MCPOConfig))
    assert not {field.name for field in fields(Recipe)} & recipe.training.keys()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_the_trainer_takes_it(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    given = {key: value for key, value in GPU_ONLY.items() if key in recipe.training}
    config = training_config(load_recipe(name, given), tmp_path)
    for key, value in recipe.training.items():
        if key not in GPU_ONLY and key not in CHANGED_BY_TRANSFORMERS:
            assert getattr(config, key) == value, key
    assert config.seed == recipe.seed
    assert config.contrastive_enabled


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_problems(name: str) -> None:
    recipe = load_recipe(name)
    for entry in [*recipe.problems, *recipe.eval_problems]:
        assert entry["domain"] in DOMAINS
        assert entry.get("hub", "openai/gsm8k") in HUB  # columns and licence are known
    assert len({entry["domain"] for entry in recipe.problems}) >= 2
    assert {entry["domain"] for entry in recipe.eval_problems} == {entry["domain"] for entry in recipe.problems}
    # A file is its own split; the other kinds of source have to say which one they mean.
    assert {entry["split"] for entry in recipe.problems if "path" not in entry} == {"train"}
    assert {entry["split"] for entry in recipe.eval_problems if "path" not in entry} <= {"heldout", "test"}
    files = [{entry["path"] for entry in part if "path" in entry} for part in (recipe.problems, recipe.eval_problems)]
    assert files[0].isdisjoint(files[1])


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_it_fits_the_gpus_that_its_head_names(name: str) -> None:
    recipe, launch = load_recipe(name), find_launch(shipped_recipes()[name], None, None)
    checked = check_recipe(recipe, launch)
    memory = SMALLEST_GPU.get(name, 80) * GIB
    shape, _ = find_shape(recipe.model)
    plan = run_plan(checked, launch, shape, gpu_memory=memory, prompt_tokens=None, cpu=False)
    assert peak(estimate_gpu(plan))[1] < 0.9 * memory  # an estimate wants room
    head = [line for line in shipped_recipes()[name].read_text().splitlines() if line.startswith("#")]
    if name not in ("demo", "smollm2-135m"):
        assert any(f"{memory / GIB:.0f} GB" in line for line in head)
        assert recipe.training["mixture"] == {"weights": "equal"}
        # The exact share of each domain needs no more prompts than a step has.
        assert checked.prompts >= len(checked.domains)


def test_the_table_of_the_docs_is_what_the_command_says() -> None:
    rows = re.findall(
        r"^\| `([\w.-]+)`(.*?) \| (\d+) of (\d+) GB, .*?\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", DOCS, re.M
    )
    assert {row[0] for row in rows} == shipped_recipes().keys() - {"demo", "smollm2-135m"}
    for name, change, gpus, memory, *told in rows:
        file, model = shipped_recipes()[name], re.search(r"--set (model=\S+)`", change)
        recipe, launch = load_recipe(name, [f"--{model[1]}"] if model else []), find_launch(file, None, None)
        checked, (shape, _) = check_recipe(recipe, launch), find_shape(recipe.model)
        size = int(memory) * GIB
        phases = estimate_gpu(run_plan(checked, launch, shape, gpu_memory=size, prompt_tokens=None, cpu=False))
        assert launch.ranks == int(gpus)
        assert [f"{sum(phases[phase].values()) / GIB:.1f}" for phase in ("generate", "pool", "update")] == told


def test_the_heading_of_the_table_says_every_size_in_it() -> None:
    heading = re.search(r"^`mcpo-rl doctor --recipe R --gpu-memory (.*?)^\| recipe", DOCS, re.M | re.S)
    assert heading is not None
    assert set(re.findall(r"\b\d+\b", heading[1])) == set(re.findall(r"^\| `.*? \| \d+ of (\d+) GB", DOCS, re.M))


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_equal_numbers_in_every_step_are_told_of_batches_that_have_them(name: str) -> None:
    checked = check_recipe(load_recipe(name), find_launch(shipped_recipes()[name], None, None))
    if checked.prompts % len(checked.domains):
        assert "in every step" not in shipped_recipes()[name].read_text()


def test_accelerate_configs_are_valid() -> None:
    files = {file.stem: file for file in sorted((RECIPES / "accelerate").glob("*.yaml"))}
    assert sorted(files) == sorted(ACCELERATE)
    for name, (kind, engine, gpus, machines) in ACCELERATE.items():
        config = load_config_from_file(str(files[name]))  # refuses unknown keys
        assert (str(config.distributed_type).rpartition(".")[2], config.num_processes) == (kind, gpus)
        assert (config.num_machines, config.mixed_precision) == (machines, "bf16")
        if kind == "FSDP":
            assert config.fsdp_config["fsdp_version"] == 2
        if machines > 1:
            assert config.main_process_ip and config.main_process_port
        launch = find_launch(Path("/dev/null"), name, None)
        assert (launch.engine, launch.ranks, launch.machines) == (engine, gpus, machines)


@pytest.mark.parametrize("name", [name for name in ACCELERATE if name.startswith("deepspeed")])
def test_deepspeed_takes_its_section(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("deepspeed")
    from accelerate.utils import DeepSpeedPlugin
    from deepspeed.runtime.config import DeepSpeedConfig

    section = yaml.safe_load((RECIPES / "accelerate" / f"{name}.yaml").read_text())["deepspeed_config"]
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_MULTINODE_LAUNCHER", section["deepspeed_multinode_launcher"])
    plugin = DeepSpeedPlugin(
        zero_stage=section["zero_stage"],
        offload_optimizer_device=section["offload_optimizer_device"],
        offload_param_device=section["offload_param_device"],
        zero3_init_flag=section["zero3_init_flag"],
        zero3_save_16bit_model=section.get("zero3_save_16bit_model", False),
        gradient_accumulation_steps=1,
    )
    sizes = {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 8, "bf16": {"enabled": True}}
    content = {key: value for key, value in plugin.deepspeed_config.items() if value != "auto"} | sizes
    config = DeepSpeedConfig(content)
    assert config.zero_optimization_stage == int(name[len("deepspeed_zero")])
    assert config.zero_config.gather_16bit_weights_on_model_save == (config.zero_optimization_stage == 3)


def test_recipes_at_the_root_are_those_of_the_package() -> None:
    assert (ROOT / "recipes").resolve() == RECIPES.resolve()


@pytest.mark.parametrize(
    "file",
    [*sorted(RECIPES.glob("*.yaml")), *sorted((RECIPES / "accelerate").glob("*.yaml")), SBATCH],
    ids=lambda file: file.name,
)
def test_launch_lines_name_files_that_exist(file: Path) -> None:
    for word in re.findall(r"recipes/[\w./-]+", file.read_text()):
        assert (ROOT / word.rstrip(".")).is_file(), word


def test_the_server_is_started_as_trl_would() -> None:
    def flags(command: list[str]) -> dict[str, str]:
        pairs = zip(command, [*command[1:], ""], strict=True)
        return {word: after for word, after in pairs if word.startswith("--")}

    given = ScriptArguments(model="Qwen/Qwen2.5-7B-Instruct")
    wanted = flags(build_command(given))
    # The job's and the recipe's own values stand in the place of TRL's defaults.
    needed = ("--weight-transfer-config", "--logprobs-mode", "--max-logprobs")
    texts = [SBATCH.read_text(), (RECIPES / "qwen2.5-7b-2x8.yaml").read_text().replace("\n#", "\n")]
    for text in texts:
        line = re.search(r"vllm serve(?:[^\n]*\\\n)*[^\n]*", text)
        assert line is not None and "VLLM_SERVER_DEV_MODE=1" in text
        found = flags(shlex.split(line[0].replace("\\\n", " ").rstrip("& ")))
        assert {flag: found[flag] for flag in needed} == {flag: wanted[flag] for flag in needed}
        assert found.keys() <= wanted.keys() | {"--max-model-len"}


def test_the_slurm_job() -> None:
    recipe, text = load_recipe("qwen2.5-7b-2x8"), SBATCH.read_text()
    assert f"MAX_MODEL_LEN:-{recipe.training['vllm_max_model_length']}}}" in text
    assert f"MODEL:-{recipe.model}}}" in text
    assert f"OUTPUT:-{recipe.output_dir}}}" in text
    for word in ("#SBATCH --requeue", "#SBATCH --open-mode=append", "--resume", "--kill-on-bad-exit=1"):
        assert word in text
    tools: list[list[str]] = [["bash", "-n"], ["shellcheck"]]
    for tool in tools:
        if shutil.which(tool[0]):
            checked: Any = subprocess.run([*tool, str(SBATCH)], capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stdout + checked.stderr
