"""vLLM on two ranks, by a stand-in: each engine's shards arrive whole, and the training is that of one process."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from trainers.conftest import make_model
from trainers.vllm_seam import STANDIN, free_port, trl_with_vllm

from .engines import Engine
from .launcher import launch
from .vllm_worker import make_trainer, record

pytestmark = pytest.mark.engines


def synchronized(events):
    """Return, for each generation: what was loaded before it, the weights it used, prompts with completions."""
    found, loaded = [], []
    for event in events:
        if event[0] == "load":
            loaded.append(event[1:])
        if event[0] == "generate":
            found.append((sorted(loaded), *event[1:]))
            loaded = []
    assert not loaded
    return found


def close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(other[name], values, rtol=tolerance, atol=tolerance)


def check_policy(generations, policies, tolerance):
    """Before each step's generation the policy comes, whole, and nothing else."""
    assert len(generations) == len(policies) == 2
    for (loaded, used, _), policy in zip(generations, policies, strict=True):
        assert loaded == sorted((name, tuple(values.shape)) for name, values in policy.items())
        close(policy, used, tolerance)
    first, second = policies
    assert any((first[name] - second[name]).abs().max() > 100 * tolerance for name in first)


# TRL's client speaks to vLLM in two ways: until 0.27 and from 0.28 on.
@pytest.mark.parametrize(
    ("engine", "version"), [(Engine.DDP, "0.22.0"), (Engine.FSDP2, "0.30.0"), (Engine.ZERO3, "0.30.0")]
)
def test_two_ranks(tmp_path, engine, version):
    path = str(tmp_path / "model")
    make_model().save_pretrained(path)
    with ExitStack() as stack:
        stack.enter_context(trl_with_vllm(version))
        from vllm.server import serve

        alone, *servers = (stack.enter_context(serve(path, new=version >= "0.28")) for _ in range(3))
        place = {"vllm_mode": "server", "vllm_server_base_url": alone.url, "vllm_group_port": free_port()}
        one = record(make_trainer(path, tmp_path, 1, Engine.DDP, **place))
        urls, ports = [server.url for server in servers], [str(free_port()) for _ in servers]
        environment = {"PYTHONPATH": str(STANDIN), "VLLM_STANDIN_VERSION": version}
        launch(
            "engines.vllm_worker",
            [str(tmp_path), engine, path, *urls, *ports],
            ranks=2,
            environment=environment,
        )
        served = [synchronized(server.policy.events) for server in (alone, *servers)]
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=False) for rank in (0, 1)]
    for name in ("full", "lora"):
        tolerance = 1e-6 if name == "lora" else 0.0  # who merges in which order
        for rank in ranks:
            check_policy(
                synchronized(rank[f"colocate_{name}"]["events"]), rank[f"colocate_{name}"]["policies"], tolerance
            )
        check_policy(served[2 if name == "lora" else 1], ranks[0][f"server_{name}"]["policies"], tolerance)
    for rank in ranks:
        for mode, found in rank.items():
            assert found["source"] == "old_logps", mode
            assert all(row["contrastive/anchors"] > 0 and row["contrastive/grad_norm"] > 0 for row in found["log"]), (
                mode
            )
            assert all(torch.equal(values, ranks[0][mode]["head"][key]) for key, values in found["head"].items()), mode
    # The server gave both the same completions; from them come the same weights.
    assert served[0][0][2] == served[1][0][2]
    close(one["policies"][1], ranks[0]["server_full"]["policies"][1], 1e-5)
