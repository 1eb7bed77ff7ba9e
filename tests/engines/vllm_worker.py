"""Run by test_vllm.py on each rank: trains with completions of the stand-in for vLLM and records what went there."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from .engines import Engine, set_up, training_options

LORA = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}


def make_trainer(path: str, directory: Path, ranks: int, engine: Engine, *, lora: bool = False, **options: Any) -> Any:
    """4 prompts x 4 rollouts in every generation batch, whatever the number of ranks; two optimizer steps."""
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, set_seed

    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
    from trainers.conftest import make_dataset, make_tokenizer, parity_reward

    from .engines import start_anew

    if ranks > 1:
        start_anew()
    settings: dict[str, Any] = {
        "output_dir": str(directory / "out"),
        "per_device_train_batch_size": 8 // ranks,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_completion_length": 8,
        "optim": "sgd",
        "learning_rate": 0.05,
        "max_grad_norm": 0.0,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": False,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "contrastive_coef": 0.5,
        "contrastive_warmup_steps": 0,
        "use_vllm": True,
    }
    args = MCPOConfig(**{**settings, **training_options(engine), **options})
    model = AutoModelForCausalLM.from_pretrained(path)
    set_seed(11)  # LoRA's weights
    return MCPOTrainer(
        model,
        parity_reward,
        args,
        make_dataset(),
        processing_class=make_tokenizer(),
        peft_config=LoraConfig(**LORA) if lora else None,
    )


def whole(parameter: Any) -> torch.Tensor:
    """Put a parameter together from the ranks' shards."""
    if hasattr(parameter, "full_tensor"):
        parameter = parameter.full_tensor()
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.detach().clone()


def merged(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the policy computes with, under the names of the model without LoRA: W + B A * alpha / r."""
    found = {}
    for name, values in parameters.items():
        if "lora_" in name:
            continue
        stem = name.removesuffix(".base_layer.weight")
        if stem != name:
            down, up = (parameters[f"{stem}.lora_{matrix}.default.weight"] for matrix in "AB")
            values = values + up @ down * (8 / LORA["r"])  # alpha is 8 by default
        found[name.removeprefix("base_model.model.").replace(".base_layer", "")] = values
    return found


def record(trainer: Any) -> dict[str, Any]:
    """Train; return the policy at each step, and what vLLM made its completions with."""
    from transformers import TrainerCallback

    policies: list[dict[str, torch.Tensor]] = []

    class Steps(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = trainer.accelerator.unwrap_model(trainer.model)
            policies.append(merged({name: whole(values) for name, values in model.named_parameters()}))

    trainer.add_callback(Steps())
    trainer.train()
    llm = getattr(trainer.vllm_generation, "llm", None)
    return {
        "policies": policies,
        "events": [] if llm is None else llm.events,
        "source": trainer.feature_source_in_use,
        "log": [row for row in trainer.state.log_history if "loss" in row],
        "head": trainer._pool_phase.objective.head.state_dict(),
    }


def main(directory: Path, engine: Engine, path: str, urls: list[str], ports: list[str]) -> None:
    """Colocated, colocated with LoRA, and with a server for each of the two."""
    warnings.simplefilter("ignore")
    set_up(engine)
    import pytest
    import trl.generation.vllm_client as client
    from accelerate import PartialState

    from trainers.vllm_seam import told_a_gpu

    with ExitStack() as stack:
        told_a_gpu(client, stack.enter_context(pytest.MonkeyPatch.context()))
        found = {}
        for lora, url, port in zip((False, True), urls, ports, strict=True):
            name = "lora" if lora else "full"
            place = {"vllm_mode": "server", "vllm_server_base_url": url, "vllm_group_port": int(port)}
            for mode, options in (("colocate", {}), ("server", place)):
                trainer = make_trainer(path, directory, 2, engine, lora=lora, **options)
                found[f"{mode}_{name}"] = record(trainer)
                print(f"{mode}_{name} done", flush=True)
        torch.save(found, directory / f"rank-{PartialState().process_index}.pt")


if __name__ == "__main__":
    place, kind, model, *rest = sys.argv[1:]
    main(Path(place), Engine(kind), model, rest[: len(rest) // 2], rest[len(rest) // 2 :])
