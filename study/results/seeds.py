"""Every seed of every method in numbers: `seeds.csv`, and the learning curves of a comparison, `curves.csv`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mcpo_rl.comparison.outcomes import counted
from mcpo_rl.runs import RunDirectory
from study.results.files import Row
from study.results.reading import MEAN, Compared

SEED_COLUMNS = (
    "comparison", "method", "seed", "domain", "start", "final", "gain", "auc", "steps_to_target", "rollouts", "tokens",
    "seconds",
)  # fmt: skip
CURVE_COLUMNS = ("method", "seed", "domain", "step", "accuracy")
NEVER = "never"
"""In the place of the steps to a target: the run ended before it reached it."""


def seed_rows(compared: Compared) -> Iterator[Row]:
    """Yield a row per method, seed and domain, and one for the mean over the domains.

    Rollouts are those of the domain, in the last row all; tokens and seconds are those of a run: of the mixture in the
    row of the mean, of specialists and stages in the rows of their domains as well. What is merged has none of its own.
    """
    for row in compared.rows:
        for seed in row["seeds"]:
            costs = _costs(compared, row["method"], seed)
            for domain in [*compared.domains, MEAN]:
                yield {
                    "comparison": compared.name,
                    "method": row["method"],
                    "seed": seed,
                    "domain": domain,
                    "start": _of(_part(compared.data["start"], "accuracy", domain), seed),
                    "final": _of(_part(row, "accuracy", domain), seed),
                    "gain": _of(row["mean_gain"] if domain == MEAN else row["gain"].get(domain), seed),
                    "auc": _of(_curve(row, "auc", domain), seed),
                    "steps_to_target": _steps(_curve(row, "steps_to_target", domain), seed),
                    "rollouts": _rollouts(row, domain),
                    **costs.get(domain, {}),
                }


def curve_rows(compared: Compared) -> Iterator[Row]:
    """Yield accuracy of the rollouts of every step: methods with a learning curve, by seed and domain."""
    for row in compared.rows:
        if row["auc"] is None:
            continue
        for seed, own, run in compared.runs(row["method"]):
            lines = run.read_metrics()
            for domain in [own] if own else compared.domains:
                for line in lines:
                    value = line.get(f"domain/{domain}/accuracy")
                    if isinstance(value, int | float) and math.isfinite(value):
                        yield {
                            "method": row["method"], "seed": seed, "domain": domain, "step": line["step"],
                            "accuracy": float(value),
                        }  # fmt: skip


def spent(run: RunDirectory) -> tuple[float, float]:
    """Return the tokens (prompts and completions of all rollouts) and the seconds of the optimizer steps of a run."""
    lines = run.read_metrics()
    tokens = [line["num_tokens"] for line in lines if isinstance(line.get("num_tokens"), int | float)]
    seconds = [count * mean for _, count, mean in counted(lines, "step_time")]
    return float(max(tokens, default=math.nan)), math.fsum(seconds) if seconds else math.nan


def _costs(compared: Compared, method: str, seed: int) -> dict[str, dict[str, float]]:
    runs = compared.every_run(method, seed)
    if not runs:
        return {}
    found = {domain: spent(run) for domain, run in runs}
    by_domain = {domain: _cost(*own) for domain, own in found.items() if domain}
    return by_domain | {MEAN: _cost(*(math.fsum(values) for values in zip(*found.values(), strict=True)))}


def _cost(tokens: float, seconds: float) -> dict[str, float]:
    return {"tokens": tokens, "seconds": round(seconds, 1)}


def _rollouts(row: Mapping[str, Any], domain: str) -> float | None:
    cost = row["cost"] or {}
    found = cost.get("rollouts") if domain == MEAN else (cost.get("rollouts_per_domain") or {}).get(domain)
    return None if found is None else round(found, 1)


def _part(found: Mapping[str, Any], name: str, domain: str) -> Any:
    return found["mean"] if domain == MEAN else found[name].get(domain)


def _curve(row: Mapping[str, Any], name: str, domain: str) -> Any:
    found = row.get(name)
    return None if found is None else found["mean"] if domain == MEAN else found["domains"].get(domain)


def _of(estimate: Mapping[str, Any] | None, seed: int) -> Any:
    return None if estimate is None else estimate["seeds"].get(str(seed))


def _steps(found: Mapping[str, Any] | None, seed: int) -> Any:
    if found is None or str(seed) not in found["seeds"]:
        return None
    step = found["seeds"][str(seed)]
    return NEVER if step is None else step
