"""The real vLLM, colocated and as a server: `pip install 'mcpo-rl[vllm,dev]'`, then `pytest -m gpu tests/trainers`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mcpo_rl.models import TINY

from .vllm_seam import free_port
from .vllm_training import STEPS

TESTS = Path(__file__).parent.parent
DIFFERENCE = 0.05
"""Mean difference allowed between vLLM's log-probabilities, in bfloat16, and the policy's. It is about 0.01 with the
same weights, and above 1 from the second step on where vLLM keeps those of the start (`vllm_training.py --stale`)."""

HAS_VLLM = importlib.util.find_spec("vllm") is not None
GPUS = torch.cuda.device_count()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed: pip install 'mcpo-rl[vllm]'"),
    pytest.mark.skipif(GPUS == 0, reason="no CUDA device (vLLM's CPU build cannot take new weights)"),
]


def train(directory: Path, environment: dict[str, str] | None = None, **options: object) -> dict:
    """Train in a process of its own, which takes all of vLLM's memory with it at its end."""
    output = directory / "result.json"
    command = [sys.executable, "-m", "trainers.vllm_training", "--output", str(output)]
    command += ["--options", json.dumps(options)]
    ended = subprocess.run(
        command, cwd=TESTS, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=1800
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
    return json.loads(output.read_text())


def check(result: dict) -> None:
    """What is synchronized is the policy, and what vLLM samples from is the policy of that step."""
    assert result["synchronized"] and all(one == result["parameters"] for one in result["synchronized"])
    assert result["source"] == "old_logps"
    steps = [row for row in result["log"] if "contrastive/anchors" in row]
    assert len(steps) == STEPS
    for row in steps:
        assert row["contrastive/anchors"] > 0 and row["contrastive/grad_norm"] > 0
        assert row["sampling/sampling_logp_difference/mean"] < DIFFERENCE


@pytest.mark.parametrize("asleep", [False, True])
def test_colocated(tmp_path, asleep):
    memory = {"vllm_gpu_memory_utilization": 0.2}
    result = train(tmp_path, vllm_mode="colocate", vllm_enable_sleep_mode=asleep, **memory)
    check(result)
    assert len(result["synchronized"]) == STEPS


@pytest.mark.skipif(GPUS < 2, reason="NCCL connects no two processes on one GPU: this needs two")
def test_server(tmp_path):
    from trl.scripts.vllm_serve import ScriptArguments, build_command

    port = free_port()
    serving = ScriptArguments(
        model=str(TINY), host="127.0.0.1", port=port, gpu_memory_utilization=0.2, max_model_len=256, enforce_eager=True
    )
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "CUDA_VISIBLE_DEVICES": "1"}
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(build_command(serving), env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            result = train(
                tmp_path,
                {"CUDA_VISIBLE_DEVICES": "0"},
                vllm_mode="server",
                vllm_server_base_url=f"http://127.0.0.1:{port}",
                vllm_server_timeout=600,
                vllm_group_port=free_port(),
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- server\n{(tmp_path / 'server.log').read_text()[-6000:]}") from error
        finally:
            server.terminate()
            server.wait(60)
    check(result)
    assert len(result["synchronized"]) == STEPS + 1  # once before to announce what will come
