"""How exact the contrastive term's gradients are: micro-batches against one backward pass, row blocks against dense.

Axes: N rollouts of the pool, I inputs of a small network that stands for the policy, d its output (the features).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from mcpo_rl.objective import ContrastiveObjective, RolloutPool

DOMAINS, PROMPTS, GROUP = 3, 12, 8
INPUTS, FEATURES, HEAD = 24, 32, 16


def measure_exactness() -> dict[str, Any]:
    """Return `objective`'s differences and, under `steps`, those of real training steps on one and two processes.

    `steps` is a list of records: see `mcpo_rl.cli.bench_exactness_trainer.measure_steps`.
    """
    from mcpo_rl.cli.bench_exactness_trainer import measure_ranks, measure_steps

    return {**measure_objective(), "steps": [*measure_steps(), *measure_ranks()]}


def measure_objective(seed: int = 0, micro_batch: int = 7, block_size: int = 11) -> dict[str, Any]:
    """Return the largest relative differences, by precision; measured on the CPU in well under a second.

    `micro_batched`: the network's parameter gradients from `sum_i <h_i, stop_grad(g_i)>` over micro-batches, against
    one backward pass of the loss through network and head on the whole pool.
    `streamed`: the feature gradients of the loss in row blocks against all rows at once.

    Args:
        seed: Of the network, the rollouts and the head.
        micro_batch: Rollouts per micro-batch; 7 does not divide the pool.
        block_size: Anchors per block of the streamed form.
    """
    import torch

    micro: dict[str, float] = {}
    streamed: dict[str, float] = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        micro[name] = _micro_batched(seed, micro_batch, dtype)
        streamed[name] = _streamed(seed, block_size, dtype)
    facts = {"rollouts": PROMPTS * GROUP, "micro_batch": micro_batch, "block_size": block_size}
    return {**facts, "micro_batched": micro, "streamed": streamed}


def _micro_batched(seed: int, size: int, dtype: torch.dtype) -> float:
    import torch

    from mcpo_rl.objective import contrastive_loss

    network, inputs = _network(seed, dtype)
    pool = _pool(network(inputs).detach(), seed)
    objective = _objective(seed, None, dtype)
    gradients = objective.evaluate(pool).feature_grads
    for start in range(0, len(inputs), size):
        rows = slice(start, start + size)
        (network(inputs[rows]) * gradients[rows]).sum().backward()
    ours = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    features = network(inputs)
    loss, _ = contrastive_loss(objective.head(features), pool, objective.config)
    return _difference(ours, list(torch.autograd.grad(loss, list(network.parameters()))))


def _streamed(seed: int, block_size: int, dtype: torch.dtype) -> float:
    network, inputs = _network(seed, dtype)
    pool = _pool(network(inputs).detach(), seed)
    blocks, dense = (_objective(seed, size, dtype).evaluate(pool).feature_grads for size in (block_size, None))
    return _difference([blocks], [dense])


def _network(seed: int, dtype: torch.dtype) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a small network and its (N, I) inputs."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(INPUTS, FEATURES), torch.nn.Tanh(), torch.nn.Linear(FEATURES, FEATURES)
        )
        return network.to(dtype), torch.randn(PROMPTS * GROUP, INPUTS).to(dtype)


def _pool(features: torch.Tensor, seed: int) -> RolloutPool:
    import torch

    from mcpo_rl.objective import RolloutPool

    prompts = torch.arange(PROMPTS).repeat_interleave(GROUP)
    correct = torch.rand(len(prompts), generator=torch.Generator().manual_seed(seed)) < 0.5
    return RolloutPool(features=features, domains=prompts % DOMAINS, prompts=prompts, correct=correct)


def _objective(seed: int, block_size: int | None, dtype: torch.dtype) -> ContrastiveObjective:
    from mcpo_rl.objective import ContrastiveConfig, ContrastiveObjective

    config = ContrastiveConfig(block_size=block_size)
    return ContrastiveObjective(FEATURES, config, embedding_dim=HEAD, seed=seed, dtype=dtype)


def _difference(ours: list[torch.Tensor], reference: list[torch.Tensor]) -> float:
    """Return max |ours - reference| / max |reference| over all tensors."""
    largest = max(float(tensor.abs().max()) for tensor in reference)
    return max(float((a - b).abs().max()) for a, b in zip(ours, reference, strict=True)) / largest
