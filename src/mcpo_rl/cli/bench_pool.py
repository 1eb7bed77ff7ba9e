"""How the contrastive loss and its gradient scale: measured against the matrix products that a dense form would need.

Axes: N rollouts of the pool, m head width.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def measure_pool(n: int = 4096, width: int = 256, repeats: int = 7) -> dict[str, float]:
    """Time loss + gradient of a pool with 3 domains against the three n x n x `width` matrix products alone.

    The products (all similarities, and the two that carry their gradient back) are what any dense form has to do. Both
    are timed in turns, so that a busy machine slows both alike, and the medians are compared. The features have `width`
    columns too, every prompt has 8 rollouts, and the pool is measured with 10, 50 and 90 percent of them correct.

    Args:
        n: N, rollouts of the pool.
        width: m, of the representations and of the features.
        repeats: timings of each; one more of each comes first and is thrown away.

    Returns:
        `n`, `width`, `threads`, `products_s`, and for each share of correct rollouts `loss_s/<percent>` and
        `ratio/<percent>` (loss_s over products_s).
    """
    import torch

    from mcpo_rl.objective import ContrastiveConfig, RolloutPool, contrastive_loss

    generator = torch.Generator().manual_seed(0)
    config = ContrastiveConfig()
    z = torch.nn.functional.normalize(torch.randn(n, width, generator=generator), dim=1).requires_grad_()
    square = torch.randn(n, n, generator=generator)
    prompts = torch.arange(n) // 8

    def products() -> None:
        with torch.no_grad():
            _ = z @ z.T, square @ z, square.T @ z

    def loss_of(percent: int) -> Callable[[], None]:
        pool = RolloutPool(
            features=torch.randn(n, width, generator=generator),
            domains=prompts % 3,
            prompts=prompts,
            correct=torch.rand(n, generator=generator) < percent / 100,
        )

        def loss_and_gradient() -> None:
            z.grad = None
            contrastive_loss(z, pool, config)[0].backward()  # type: ignore[no-untyped-call]

        return loss_and_gradient

    tasks = {"products": products} | {str(percent): loss_of(percent) for percent in (10, 50, 90)}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    base = medians.pop("products")
    result = {"n": float(n), "width": float(width), "threads": float(torch.get_num_threads()), "products_s": base}
    for name, seconds in medians.items():
        result[f"loss_s/{name}"] = seconds
        result[f"ratio/{name}"] = seconds / base
    return result
