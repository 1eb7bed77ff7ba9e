"""`mcpo-rl doctor --recipe R`: whether a recipe is sound, what memory it needs, and what to change if that is too much.

Imported inside the command only: it loads torch and TRL.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from typing import Any

from mcpo_rl.cli.doctor_advice import generation_note, host_bytes, longest_sequence, remedies, vllm_findings
from mcpo_rl.cli.doctor_launch import Launch, find_launch, launch_line
from mcpo_rl.cli.doctor_plan import Checked, check_recipe, run_plan
from mcpo_rl.cli.machine import machine_facts
from mcpo_rl.config import load_recipe, recipe_file
from mcpo_rl.errors import ConfigError
from mcpo_rl.models.memory import GIB, HOST_PER_RANK, RunPlan, estimate_gpu, peak
from mcpo_rl.models.shape_lookup import find_shape

ASSUMED_GPU = 80.0
"""GiB of a GPU where this machine has none and none is given."""
ENGINES = {
    "one": "one process",
    "ddp": "DDP",
    "fsdp": "FSDP2",
    "zero1": "DeepSpeed ZeRO-1",
    "zero2": "DeepSpeed ZeRO-2",
    "zero3": "DeepSpeed ZeRO-3",
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where the recipe would run."""

    memory: float
    """Bytes of one GPU, or of this machine."""
    cpu: bool
    origin: str
    """Where the number comes from."""


def run(args: argparse.Namespace) -> int:
    """Print the estimate. 0: it fits; 1: it does not, with what to change."""
    _check_numbers(args)
    changes = _changes(args.set)
    file = recipe_file(args.recipe)
    recipe = load_recipe(file, changes)
    launch = find_launch(file, args.accelerate, args.gpus)
    checked = check_recipe(recipe, launch)
    device = _device(args, checked)
    shape, origin = find_shape(recipe.model)
    plan = run_plan(checked, launch, shape, gpu_memory=device.memory, prompt_tokens=args.prompt_tokens, cpu=device.cpu)
    facts = _facts(plan, checked, launch, device) | {"shape_from": origin}
    facts["launch"] = launch_line(args.recipe, changes, launch, server=_server_unknown(checked))
    if args.measure:
        from mcpo_rl.cli.doctor_measure import measured_step

        facts["measured"] = measured_step(plan)
    print(json.dumps(facts, indent=2) if args.json else _as_text(facts))
    return 0 if facts["fits"] else 1


def _check_numbers(args: argparse.Namespace) -> None:
    if args.gpu_memory is not None and not (math.isfinite(args.gpu_memory) and args.gpu_memory > 0):
        raise ConfigError(f"--gpu-memory is {args.gpu_memory:g}; expected GiB above 0, e.g. 80.")
    if args.prompt_tokens is not None and args.prompt_tokens < 1:
        raise ConfigError(f"--prompt-tokens is {args.prompt_tokens}; it must be at least 1.")


def _changes(words: list[str]) -> list[str]:
    for word in words:
        if "=" not in word:
            raise ConfigError(f"--set {word}: expected KEY=VALUE, e.g. --set max_completion_length=8192.")
    return [f"--{word}" for word in words]


def _device(args: argparse.Namespace, checked: Checked) -> Device:
    facts = machine_facts()
    if args.gpu_memory is not None:
        return Device(memory=args.gpu_memory * GIB, cpu=False, origin="given")
    if facts.get("device") == "cuda":
        return Device(memory=facts["gpu_memory_gib"] * GIB, cpu=False, origin="this machine's")
    wants_gpu = checked.asked("use_vllm") or checked.recipe.training.get("bf16") or args.gpus or args.accelerate
    if wants_gpu:
        return Device(memory=ASSUMED_GPU * GIB, cpu=False, origin="assumed; say yours with --gpu-memory")
    return Device(memory=facts["memory_gib"] * GIB, cpu=True, origin="this machine's, no GPU found")


def _facts(plan: RunPlan, checked: Checked, launch: Launch, device: Device) -> dict[str, Any]:
    config, phases = checked.config, estimate_gpu(plan)
    phase, most = peak(phases)
    longest = longest_sequence(plan)
    problems = vllm_findings(plan, max_tokens=longest)
    fits = most <= plan.gpu_memory and not problems
    return {
        "model": checked.recipe.model,
        "parameters": plan.shape.parameters,
        "trained": plan.trained,
        "engine": plan.engine,
        "gpus": plan.ranks,
        "machines": launch.machines,
        "launch_note": launch.note,
        "step": {
            "prompts": checked.prompts,
            "generations": config.num_generations,
            "domains": checked.domains,
            "micro_batch": plan.passes.rows,
            "accumulation": plan.accumulation,
            "prompt_tokens": plan.passes.tokens - plan.passes.completion,
            "completion_tokens": plan.passes.completion,
        },
        "device": {"cpu": device.cpu, "memory_gib": round(device.memory / GIB, 1), "origin": device.origin},
        "gib": {name: {part: round(size / GIB, 2) for part, size in parts.items()} for name, parts in phases.items()},
        "peak_gib": round(most / GIB, 1),
        "peak_phase": phase,
        "host_gib": round(_host(plan, launch, device) / GIB, 1),
        "generation": generation_note(plan, longest),
        "problems": problems,
        "fits": fits,
        "remedies": [] if fits else [vars(remedy) | {"peak": round(remedy.peak / GIB, 1)} for remedy in remedies(plan)],
    }


def _host(plan: RunPlan, launch: Launch, device: Device) -> float:
    return 0.0 if device.cpu else host_bytes(plan, loads_once=launch.loads_once, per_rank=HOST_PER_RANK)


def _server_unknown(checked: Checked) -> bool:
    """Whether vLLM serves at an address that means this machine only."""
    config = checked.config
    if not checked.asked("use_vllm") or config.vllm_mode != "server" or config.vllm_server_base_url:
        return False
    return config.vllm_server_host in ("127.0.0.1", "localhost", "0.0.0.0")


def _as_text(facts: dict[str, Any]) -> str:
    step, device = facts["step"], facts["device"]
    trained = "" if facts["trained"] == facts["parameters"] else f", LoRA trains {_count(facts['trained'])}"
    each = "" if device["cpu"] else " each"
    where = "this machine's CPU" if device["cpu"] else f"{facts['gpus']} GPU{'s' if facts['gpus'] > 1 else ''}"
    if facts["machines"] > 1:
        where += f" on {facts['machines']} machines"
    rollouts = step["prompts"] * step["generations"]
    lines = [
        f"model    {facts['model']}: {_count(facts['parameters'])} parameters ({facts['shape_from']}){trained}",
        f"on       {where}, {ENGINES[facts['engine']]}; {device['memory_gib']:g} GiB{each} ({device['origin']})",
        f"a step   {step['prompts']} prompts x {step['generations']} = {rollouts} rollouts of at most "
        f"{step['prompt_tokens']:,} + {step['completion_tokens']:,} tokens; domains: {', '.join(step['domains'])}",
        f"         micro-batches of {step['micro_batch']}, {step['accumulation']} accumulated",
        f"launch   {facts['launch']}",
        *([f"         {facts['launch_note']}."] if facts["launch_note"] else []),
        "",
        *_table(facts["gib"]),
        "",
        f"{facts['generation']}.",
    ]
    if not device["cpu"]:
        lines.append(f"Main memory of a machine: about {facts['host_gib']:g} GiB.")
    lines += _verdict(facts)
    if "measured" in facts:
        told = facts["measured"]
        lines.append(
            f"Measured here, one process, two steps: {told['measured'] / GIB:.2f} GiB of weights, gradients, AdamW and "
            f"activations; estimated {told['estimate'] / GIB:.2f} GiB, {told['ratio']:.2f} of it."
        )
    return "\n".join(lines)


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.3f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.1f} million"


def _table(phases: dict[str, dict[str, float]]) -> list[str]:
    names = list(phases)
    lines = ["GiB".ljust(14) + "".join(name.rjust(10) for name in names)]
    for part in next(iter(phases.values())):
        sizes = [phases[name][part] for name in names]
        if any(size >= 0.005 for size in sizes):
            lines.append(part.ljust(14) + "".join(f"{size:10.2f}" for size in sizes))
    return [*lines, "sum".ljust(14) + "".join(f"{sum(phases[name].values()):10.2f}" for name in names)]


def _verdict(facts: dict[str, Any]) -> list[str]:
    total, most = facts["device"]["memory_gib"], facts["peak_gib"]
    if facts["fits"]:
        tight = ", with less than a tenth free" if most > 0.9 * total else ""
        return [f"Fits by this estimate{tight}: {most:g} of {total:g} GiB (the phase `{facts['peak_phase']}`)."]
    lines = [f"Does not fit: {problem}." for problem in facts["problems"]]
    if most > total or not lines:
        lines.append(f"Does not fit: {most:g} of {total:g} GiB (the phase `{facts['peak_phase']}`).")
    found = facts["remedies"]
    if not found or not found[-1]["fits"]:
        return [*lines, "No setting that is known here makes it fit: take larger GPUs or a smaller model."]
    alone = found[0]["fits"]
    lines += ["", "what to do (one of these is enough)" if alone else "what to do (all of these)"]
    return [*lines, *(f"  {one['what']}: {one['peak']:g} GiB{_tight(one, total)}" for one in found)]


def _tight(remedy: dict[str, Any], total: float) -> str:
    return ", less than a tenth free" if remedy["fits"] and remedy["peak"] > 0.9 * total else ""
