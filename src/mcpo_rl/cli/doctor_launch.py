"""How a recipe is launched: which engine on how many GPUs, from an Accelerate configuration."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcpo_rl.config import RECIPES, parse_yaml
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.models.memory import Engine

_LINE = re.compile(r"accelerate launch\b.*?--config_file[ =](\S+)")
_MACHINES = re.compile(r"_\d+x\d+$")
_GPUS_PER_MACHINE = 8
"""Assumed where no file tells it."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What memory needs to know of a launch."""

    engine: Engine = "one"
    ranks: int = 1
    """Training processes, one a GPU."""
    machines: int = 1
    offload_optimizer: bool = False
    offload_parameters: bool = False
    loads_once: bool = False
    """One process a machine reads the weights, and not each."""
    file: Path | None = None
    """The Accelerate configuration; None is a plain `mcpo-rl train`, or flags."""
    note: str = ""
    """What to know of the file, given the GPUs; empty where there is nothing."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.file.name if self.file is not None else f"{_GPUS_PER_MACHINE} GPUs each"

    @property
    def ranks_per_machine(self) -> int:
        """GPUs of one machine."""
        return math.ceil(self.ranks / self.machines)


def find_launch(recipe: Path, config: str | None, gpus: int | None) -> Launch:
    """Return how a recipe is launched.

    Args:
        recipe: The recipe's file. The first `accelerate launch --config_file F` in the comments at its head counts
            where no configuration is given.
        config: An Accelerate configuration: a file, or the name of a shipped one (`fsdp2`).
        gpus: Training GPUs in all, in the place of those that the configuration has, on as many machines.

    Raises:
        ConfigError: No such file, one that is no Accelerate configuration, or GPUs that its machines cannot share out.
    """
    if gpus is not None and gpus < 1:
        raise ConfigError(f"--gpus is {gpus}; it must be at least 1.")
    named = config or (None if gpus == 1 else _launch_line(recipe))
    if named is None:
        ranks = gpus or 1
        machines = math.ceil(ranks / _GPUS_PER_MACHINE)
        return _checked(Launch(engine="one" if ranks == 1 else "ddp", ranks=ranks, machines=machines))
    launch = read_launch(_find(named))
    return _checked(launch) if gpus in (None, launch.ranks) else _with_gpus(launch, gpus, chosen=config is not None)


def _with_gpus(launch: Launch, gpus: int, *, chosen: bool) -> Launch:
    """Return a launch on another number of GPUs; the machines stay those of its file.

    Where one machine's GPUs are enough, the file for one machine that stands beside it is taken, or told if the other
    was `chosen`.
    """
    room, sibling = launch.ranks_per_machine, _for_one_machine(launch)
    if sibling is None or gpus > room:
        note = ""
        if gpus > room * launch.machines:
            note = (
                f"{launch.name} has num_machines: {launch.machines} with {room} GPUs each; for more machines give "
                "--accelerate a file that has them"
            )
        return _checked(replace(launch, ranks=gpus, note=note))
    one = f"{gpus} GPU{'s are' if gpus > 1 else ' is'} not more than a machine has"
    if not chosen:
        return replace(
            sibling, ranks=gpus, note=f"{one}: {sibling.name} in the place of {launch.name}, which is for several"
        )
    return _checked(replace(launch, ranks=gpus, note=f"{one}: --accelerate {_told(sibling)} is for one machine"))


def _checked(launch: Launch) -> Launch:
    """Return a launch whose machines have the same number of GPUs each, as Accelerate starts them."""
    if launch.machines < 1 or launch.ranks < 1:
        raise ConfigError(f"{launch.name} has {launch.ranks} processes on {launch.machines} machines.")
    if launch.ranks % launch.machines:
        hint = f" Or: {launch.note}." if launch.note else ""
        raise ConfigError(
            f"{launch.ranks} GPU{'s' if launch.ranks > 1 else ''} cannot be shared out equally over the "
            f"{launch.machines} machines of {launch.name}: give a multiple of {launch.machines}.{hint}"
        )
    return launch


def _for_one_machine(launch: Launch) -> Launch | None:
    """Return what stands beside `fsdp2_2x8.yaml` as `fsdp2.yaml`, if that is for one machine."""
    stem = "" if launch.file is None else _MACHINES.sub("", launch.file.stem)
    if launch.file is None or launch.machines == 1 or stem == launch.file.stem:
        return None
    file = launch.file.with_name(f"{stem}{launch.file.suffix}")
    found = read_launch(file) if file.is_file() else None
    return found if found is not None and found.machines == 1 else None


def _told(launch: Launch) -> str:
    shipped = launch.file is not None and launch.file.parent == RECIPES / "accelerate"
    return launch.file.stem if launch.file is not None and shipped else str(launch.file)


def read_launch(file: Path) -> Launch:
    """Read an Accelerate configuration.

    Raises:
        ConfigError: It cannot be read or has an engine that the trainer does not work with.
    """
    content = parse_yaml(file.read_text(encoding="utf-8"), where=str(file))
    if not isinstance(content, dict) or "distributed_type" not in content:
        raise ConfigError(f"{file} is no Accelerate configuration: it has no `distributed_type`.")
    kind = str(content["distributed_type"]).upper()
    launch = Launch(
        ranks=int(content.get("num_processes") or 1), machines=int(content.get("num_machines") or 1), file=file
    )
    if kind == "NO":
        return launch
    if kind in ("MULTI_GPU", "MULTI_CPU", "MULTI_XPU", "MULTI_NPU"):
        return replace(launch, engine="ddp")
    if kind == "FSDP":
        return _with_fsdp(launch, content.get("fsdp_config") or {})
    if kind == "DEEPSPEED":
        return _with_deepspeed(launch, content.get("deepspeed_config") or {}, file)
    raise ConfigError(f"{file}: the engine {kind} is not one of DDP (MULTI_GPU), FSDP and DEEPSPEED.")


def _with_fsdp(launch: Launch, options: dict[str, Any]) -> Launch:
    return replace(
        launch,
        engine="fsdp",
        offload_parameters=bool(options.get("fsdp_offload_params", False)),
        offload_optimizer=bool(options.get("fsdp_offload_params", False)),  # it steps where its parameters are
        loads_once=bool(options.get("fsdp_cpu_ram_efficient_loading", False)),
    )


def _with_deepspeed(launch: Launch, options: dict[str, Any], file: Path) -> Launch:
    if "deepspeed_config_file" in options:
        options = _options_of_file(_find_beside(str(options["deepspeed_config_file"]), file))
    stage = int(options.get("zero_stage", 2))
    if stage not in (0, 1, 2, 3):
        raise ConfigError(f"{file}: zero_stage is {stage}; expected 0 to 3.")
    engines: dict[int, Engine] = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}
    return replace(
        launch,
        engine=engines[stage],
        offload_optimizer=options.get("offload_optimizer_device", "none") != "none",
        offload_parameters=stage == 3 and options.get("offload_param_device", "none") != "none",
        loads_once=stage == 3 and bool(options.get("zero3_init_flag", False)),
    )


def _options_of_file(file: Path) -> dict[str, Any]:
    """Return DeepSpeed's own file in the words of Accelerate's section."""
    try:
        zero = json.loads(file.read_text(encoding="utf-8")).get("zero_optimization", {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as DeepSpeed's configuration ({error}).") from error
    return {
        "zero_stage": zero.get("stage", 0),
        "offload_optimizer_device": zero.get("offload_optimizer", {}).get("device", "none"),
        "offload_param_device": zero.get("offload_param", {}).get("device", "none"),
        "zero3_init_flag": True,
    }


def _launch_line(recipe: Path) -> str | None:
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return None
        if match := _LINE.search(line):
            return match[1]
    return None


def launch_line(recipe: str, changes: list[str], launch: Launch, *, server: bool) -> str:
    """Return the command that trains a recipe; on several machines with `$RANK`, `$HOST0` and `$SERVER` to fill in.

    Args:
        recipe: As it was given.
        changes: `--key=value` words for it.
        launch: How it is launched.
        server: vLLM serves from elsewhere, at an address that the recipe does not say.
    """
    train = shlex.join(["train", recipe, *changes])
    if launch.file is None and launch.ranks == 1:
        return f"mcpo-rl {train}"
    several = launch.machines > 1
    how = f"--config_file {shlex.quote(str(launch.file))}" if launch.file else "--multi_gpu"
    if several and launch.file is None:
        how += f" --num_machines {launch.machines} --main_process_port 29500"
    machine = " --machine_rank $RANK --main_process_ip $HOST0" if several else ""
    address = " --vllm_server_host $SERVER" if several and server else ""
    return f"accelerate launch {how} --num_processes {launch.ranks}{machine} -m mcpo_rl {train}{address}"


def _find(name: str) -> Path:
    """Return a file by its path, or the shipped one of that name, whatever directory stands before it."""
    shipped = {path.stem: path for path in sorted((RECIPES / "accelerate").glob("*.yaml"))}
    if Path(name).is_file():
        return Path(name)
    if Path(name).stem in shipped:
        return shipped[Path(name).stem]
    raise ConfigError(
        f"no Accelerate configuration {name}.{nearest(name, shipped)} Give a file or one of {', '.join(shipped)}."
    )


def _find_beside(name: str, file: Path) -> Path:
    return next((path for path in (Path(name), file.parent / Path(name).name) if path.is_file()), Path(name))
