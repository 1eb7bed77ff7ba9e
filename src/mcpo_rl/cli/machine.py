"""Facts about the machine and the installed packages, for `doctor` and `bench`."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

REQUIRED = ("torch", "trl", "transformers", "accelerate", "datasets", "math-verify", "mpmath")
OPTIONAL = {"vllm": "vllm", "deepspeed": "deepspeed", "peft": "peft", "plotly": "report", "gguf": "smollm2"}
"""Optional package -> the extra of mcpo-rl that installs it."""


def machine_facts() -> dict[str, Any]:
    """Return what a measurement has to say of its machine: system, cores, memory, Python, torch and its device."""
    return {
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **_torch_facts(),
    }


def package_facts() -> list[dict[str, Any]]:
    """Return one entry per package: `name`, `version` (None: not installed), `supported` range, `fits`, `extra`."""
    ranges = _supported_ranges()
    facts = []
    for name in (*REQUIRED, *OPTIONAL):
        version = _version(name)
        supported = ranges.get(name)
        facts.append(
            {
                "name": name,
                "version": version,
                "supported": str(supported.specifier) if supported else "",
                "fits": version is not None and (supported is None or supported.specifier.contains(version, True)),
                "extra": OPTIONAL.get(name),
            }
        )
    return facts


def _supported_ranges() -> dict[str, Requirement]:
    ranges: dict[str, Requirement] = {}
    for text in metadata.requires("mcpo-rl") or []:
        requirement = Requirement(text)
        # An extra that names mcpo-rl's own extras or trl[vllm] says nothing of that package's range.
        ranges.setdefault(requirement.name, requirement)
    return ranges


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the processor's name as the system has it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            match = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
    except OSError:  # not Linux
        match = None
    return match.group(1) if match else platform.processor() or platform.machine()


def _torch_facts() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it is linked to is missing
        return {"torch": None, "torch_error": str(error), "device": None}
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        free, total = torch.cuda.mem_get_info(0)
        memory = {"gpu_memory_gib": round(total / 2**30, 1), "gpu_memory_free_gib": round(free / 2**30, 1)}
        return facts | {"device": "cuda", "cuda": torch.version.cuda, "gpus": names} | memory
    return facts | {"device": "mps" if torch.backends.mps.is_available() else "cpu"}
