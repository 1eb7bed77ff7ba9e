"""How the objective scales with the pool: against the matrix products that a dense form would need, and in memory.

Every size is measured in a process of its own, so that each peak is its own.

Axes: N rollouts of the pool, d features, m head width.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import RunError

if TYPE_CHECKING:
    import torch

    from mcpo_rl.objective import ContrastiveObjective, RolloutPool


@dataclass(frozen=True, kw_only=True)
class PoolCase:
    """One pool to measure: 3 domains, 8 rollouts of every prompt."""

    rollouts: int
    """N."""
    features: int = 256
    """d, the width of the hidden states that the head is given."""
    width: int = 256
    """m, of the representations."""
    percents: tuple[int, ...] = (10, 50, 90)
    """How many in a hundred rollouts are correct; one row of the result for each."""
    repeats: int = 3
    """Timings of each; where there are several, one more comes first and is thrown away."""


CASES = (
    PoolCase(rollouts=256, repeats=20),
    PoolCase(rollouts=1_024, repeats=20),
    PoolCase(rollouts=4_096, repeats=7),
    PoolCase(rollouts=16_384, repeats=3),
    PoolCase(rollouts=16_384, features=2_048, percents=(50,), repeats=1),
    PoolCase(rollouts=65_536, percents=(50,), repeats=1),
)
"""Some minutes on two cores, half of them for the largest."""

Progress = Callable[[int, int], None]
"""Told the cases done, and of how many."""


def measure_pool(
    cases: Sequence[PoolCase] = CASES,
    progress: AbstractContextManager[Progress] | None = None,
) -> dict[str, Any]:
    """Time the losses with their gradient, and the whole step of the objective, and weigh what it holds.

    The measure is the bare matrix products of a dense form: with Z (N, m) and any G (N, N), the similarities Z Z^T and
    the two products that carry a gradient back, G Z and G^T Z. They are made with the library's own matrix product, by
    blocks of rows whose memory is used again, so that a large N x N is never made. (A dense form has to multiply the
    features, N x N x d, for the transferability as well, and to pass over N x N many times; neither is counted.) All
    are timed in turns, so that a busy machine slows them alike, and the medians are compared.

    Args:
        cases: The pools.
        progress: What it yields is told the cases done.

    Returns:
        `threads`, `device`, and a list `pools` of records: `rollouts`, `features`, `width`, `correct` (percent),
        `repeats`, `products_s`, `loss_s` (loss and gradient on z), `step_s` (`ContrastiveObjective.step`), `loss_ratio`
        and `step_ratio` (over products_s), `step_cpu_ratio` (the same of the processors' time, which other processes
        disturb less), `peak_mib` (the largest resident memory of the process after its first step, the pool's features
        and torch included) and `above_idle_mib` (less what the process held before it made the pool). On a GPU both
        are the memory allocated there.

    Raises:
        RunError: a process failed.
    """
    found: dict[str, Any] = {}
    pools: list[dict[str, Any]] = []
    with progress or nullcontext(lambda done, of: None) as tell:
        for number, case in enumerate(cases):
            told = _in_process(case)
            pools += told.pop("pools")
            found |= told
            tell(number + 1, len(cases))
    return found | {"pools": pools}


def _in_process(case: PoolCase) -> dict[str, Any]:
    words = [sys.executable, "-m", "mcpo_rl.cli.bench_pool", json.dumps(asdict(case))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"The pool of {case.rollouts} rollouts was not measured: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def measure_case(case: PoolCase) -> dict[str, Any]:
    """Measure one pool in this process; see `measure_pool`."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wake = torch.randn(512, 512, device=device)
    wake @ wake  # the threads and the library's own memory are not the pool's
    idle = _peak_mib(device)
    _objective(case, device).step(_pool(case, case.percents[-1], device))
    peak = _peak_mib(device)
    tasks = _tasks(case, device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(case.repeats + (case.repeats > 1)):
        for name, task in tasks.items():
            times[name].append(_seconds(task, device))
    counted = {name: pairs[-case.repeats :] for name, pairs in times.items()}
    wall, cpu = (
        {name: statistics.median(pair[k] for pair in pairs) for name, pairs in counted.items()} for k in (0, 1)
    )
    return {
        "threads": torch.get_num_threads(),
        "device": device.type,
        "pools": [
            {
                "rollouts": case.rollouts,
                "features": case.features,
                "width": case.width,
                "correct": percent,
                "repeats": case.repeats,
                "products_s": wall["products"],
                "loss_s": wall[f"loss {percent}"],
                "step_s": wall[f"step {percent}"],
                "loss_ratio": wall[f"loss {percent}"] / wall["products"],
                "step_ratio": wall[f"step {percent}"] / wall["products"],
                "step_cpu_ratio": cpu[f"step {percent}"] / cpu["products"],
                "peak_mib": peak,
                "above_idle_mib": peak - idle,
            }
            for percent in case.percents
        ],
    }


def _tasks(case: PoolCase, device: torch.device) -> dict[str, Callable[[], Any]]:
    import torch

    from mcpo_rl.objective import contrastive_loss

    z = torch.randn(case.rollouts, case.width, generator=torch.Generator().manual_seed(1))
    z = torch.nn.functional.normalize(z, dim=1).to(device).requires_grad_()
    objective = _objective(case, device)

    def loss_and_gradient(pool: RolloutPool) -> None:
        z.grad = None
        contrastive_loss(z, pool, objective.config)[0].backward()  # type: ignore[no-untyped-call]

    tasks: dict[str, Callable[[], Any]] = {"products": _Products(z.detach())}
    for percent in case.percents:
        pool = _pool(case, percent, device)
        tasks[f"loss {percent}"] = partial(loss_and_gradient, pool)
        tasks[f"step {percent}"] = partial(objective.step, pool)
    return tasks


def _objective(case: PoolCase, device: torch.device) -> ContrastiveObjective:
    from mcpo_rl.objective import ContrastiveObjective

    return ContrastiveObjective(case.features, embedding_dim=case.width, device=device)


def _pool(case: PoolCase, percent: int, device: torch.device) -> RolloutPool:
    import torch

    from mcpo_rl.objective import RolloutPool

    generator, prompts = torch.Generator().manual_seed(0), torch.arange(case.rollouts) // 8
    return RolloutPool(
        features=torch.randn(case.rollouts, case.features, generator=generator),
        domains=prompts % 3,
        prompts=prompts,
        correct=torch.rand(case.rollouts, generator=generator) < percent / 100,
    ).to(device)


class _Products:
    """The three N x N x m products, by blocks of rows."""

    _BLOCK_ENTRIES = 1 << 26

    def __init__(self, z: torch.Tensor) -> None:
        self._z = z
        self._rows = min(len(z), max(1, self._BLOCK_ENTRIES // len(z)))

    def __call__(self) -> None:
        import torch

        z, room = self._z, self._z.new_empty(self._rows, len(self._z))
        gradient = torch.zeros_like(z)
        for rows, into in zip(torch.split(z, self._rows), torch.split(gradient, self._rows), strict=True):
            similarities = torch.mm(rows, z.T, out=room[: len(rows)])
            into.addmm_(similarities, z)
            gradient.addmm_(similarities.T, rows)


def _seconds(task: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds on the clock, and of all processors together, that a task takes."""
    import torch

    wall, cpu = time.perf_counter(), time.process_time()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def _peak_mib(device: torch.device) -> float:
    """The most memory that was in use so far: of the GPU, or resident of this process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "linux":  # not ru_maxrss: there it begins with what the parent had
        with open("/proc/self/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(json.dumps(measure_case(PoolCase(**json.loads(sys.argv[1])))))
