r"""Do the settings of a sweep matter at all? `spread.csv`: all methods of a comparison held against each other at once.

One arm against GRPO is a few seeds against a few. All arms together tell more: with $y_{as}$ of arm a at seed s, A arms
and S seeds that all of them have, and $r_{as} = y_{as} - \bar y_a - \bar y_s + \bar y$, the variance of the arms'
means is held against what seeds alone would give, $\sum r^2 / ((A - 1)(S - 1))$. If no setting matters, the arms of a
seed can be exchanged: p is the share of such exchanges in which the means lie as far apart as they do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcpo_rl.comparison.seeds import student_quantile
from study.results.differences import ACCURACY, AREA, WORST
from study.results.files import Row
from study.results.reading import Compared

COLUMNS = (
    "comparison", "quantity", "methods", "seeds", "lowest", "highest", "deviation", "by_seeds", "f", "p", "reach",
)  # fmt: skip
FEWEST_METHODS = 3
EXCHANGES = 9999
"""Of the permutation test, which draws them from a fixed generator."""


def spread_rows(compared: Compared) -> Iterator[Row]:
    """Yield a row per quantity; none where fewer than three methods share two seeds.

    `deviation` is the standard deviation of the methods' means, `by_seeds` the one expected if no setting matters,
    `lowest` and `highest` are means, and `reach` is half the 95% interval of a difference between two methods with the
    variance of all of them together, not adjusted for their number.
    """
    for quantity in (ACCURACY, AREA, WORST):
        own = {row["method"]: _seeds(row, quantity) for row in compared.rows}
        own = {method: values for method, values in own.items() if values}
        seeds = sorted(set.intersection(*map(set, own.values()))) if own else []
        if len(own) < FEWEST_METHODS or len(seeds) < 2:
            continue
        values = np.array([[one[seed] for seed in seeds] for one in own.values()])
        found = spread(values)
        if found is not None:
            start = {"comparison": compared.name, "quantity": quantity, "methods": len(own), "seeds": len(seeds)}
            yield start | found


def spread(values: NDArray[np.float64], *, exchanges: int = EXCHANGES) -> dict[str, float] | None:
    """Return how far the rows' means lie apart, and how far they would by chance; None where nothing varies by chance.

    Args:
        values: Shape (methods, seeds).
        exchanges: Random ones of the permutation test; p is at least 1 / (exchanges + 1).
    """
    methods, seeds = values.shape
    means = values.mean(axis=1)
    rest = values - means[:, None] - values.mean(axis=0) + values.mean()
    freedom = (methods - 1) * (seeds - 1)
    noise = float((rest**2).sum()) / freedom
    if noise < 1e-18:
        return None
    between = float(means.var(ddof=1))
    random = np.random.default_rng(0)
    # Exchanges within a seed leave the total and the seeds' means as they are: the means' variance orders as F does.
    apart = sum(
        float(random.permuted(values, axis=0).mean(axis=1).var(ddof=1)) >= between * (1 - 1e-9)
        for _ in range(exchanges)
    )
    return {
        "lowest": float(means.min()),
        "highest": float(means.max()),
        "deviation": math.sqrt(between),
        "by_seeds": math.sqrt(noise / seeds),
        "f": seeds * between / noise,
        "p": (apart + 1) / (exchanges + 1),
        "reach": student_quantile(0.975, freedom) * math.sqrt(2 * noise / seeds),
    }


def _seeds(row: Mapping[str, Any], quantity: str) -> dict[str, float]:
    found = {
        ACCURACY: row["mean"],
        AREA: (row.get("auc") or {}).get("mean"),
        WORST: row["worst_domain_gain"],
    }[quantity]
    return {} if found is None else {seed: value for seed, value in found["seeds"].items() if value is not None}
