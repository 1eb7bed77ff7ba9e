"""TRL's own vLLM code on top of the stand-in: what is real, and where the seam is.

Real: `VLLMGeneration` with its synchronization and both modes, `VLLMClient` with its HTTP, and the trainers. Not real:
the package `vllm` below them (`vllm_standin/`), the server (`vllm_standin/vllm/server.py`, HTTP like the real one), and
the wire of the weights (TCP in the place of NCCL). One thing of TRL is changed: `init_communicator`, which refuses a
CPU since NCCL does, is told that the device is a GPU.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from trl.import_utils import PACKAGE_DISTRIBUTION_MAPPING

STANDIN = Path(__file__).parent / "vllm_standin"
READ_AT_IMPORT = ("trl.generation.vllm_client", "trl.generation.vllm_generation")
"""TRL's modules that look for vLLM and its version when they are imported."""
OF_A_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What TRL sets in the environment for vLLM."""


@contextmanager
def trl_with_vllm(version: str = "0.30.0") -> Iterator[None]:
    """Let TRL find the stand-in and call itself this version, in this process and until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STANDIN)
        patch.setenv("VLLM_STANDIN_VERSION", version)
        patch.delitem(PACKAGE_DISTRIBUTION_MAPPING, "vllm", raising=False)
        for name in [name for name in sys.modules if name in READ_AT_IMPORT or name.split(".")[0] == "vllm"]:
            patch.delitem(sys.modules, name)
        client, generation = (_fresh(patch, name) for name in READ_AT_IMPORT)
        told_a_gpu(client, patch)
        _without_a_launcher(generation, patch)
        for trainer in ("grpo_trainer", "rloo_trainer"):
            patch.setattr(f"trl.trainer.{trainer}.VLLMGeneration", generation.VLLMGeneration)
        try:
            yield
        finally:
            for name in [name for name in sys.modules if name in READ_AT_IMPORT or name.split(".")[0] == "vllm"]:
                del sys.modules[name]


def _fresh(patch: pytest.MonkeyPatch, name: str) -> Any:
    """Import a module anew; the package's own name for it is put back later."""
    package, _, short = name.rpartition(".")
    patch.setitem(vars(importlib.import_module(package)), short, None)
    return importlib.import_module(name)


def _without_a_launcher(generation: Any, patch: pytest.MonkeyPatch) -> None:
    """Take back what TRL sets in the environment: the next trainer of this process would take itself for a rank."""
    original = generation.VLLMGeneration._init_vllm

    def init(self: Any) -> None:
        before = {name: os.environ.pop(name, None) for name in OF_A_LAUNCHER}
        try:
            original(self)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({} if value is None else {name: value})

    patch.setattr(generation.VLLMGeneration, "_init_vllm", init)


def told_a_gpu(client: Any, patch: pytest.MonkeyPatch) -> None:
    """Let the client open its group on a CPU."""
    original = client.VLLMClient.init_communicator
    patch.setattr(client.VLLMClient, "init_communicator", lambda self, device: original(self, device="cuda"))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
