"""How the domains lie in the hidden states, with GRPO and with MCPO: `geometry.csv` and its paired summary.

Runs with a probe set are measured on it. Others are measured on the rollouts of the steps that were kept: these are
each model's own answers, to the same prompts at a seed, so a difference can come from what is answered as well as from
how it is represented. The measures are those of docs/geometry.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from mcpo_rl.analysis.geometry.measures import alignment, distances, overlap
from mcpo_rl.analysis.geometry.rows import ProbeRows
from mcpo_rl.comparison.seeds import FEWEST_SEEDS, LEVEL, over_seeds, paired_over_seeds
from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.scores import holm
from study.results.files import Row
from study.results.reading import Compared

METHODS = ("grpo", "mcpo")
MEASURES = ("alignment", "cross_alignment", "overlap", "domain_share")
ON_PROBE = ("separability", "verdict_transfer", "cka")
"""Measured on a probe set only: they ask for many problems, or for the same rollouts at every step."""
COLUMNS = ("comparison", "method", "seed", "step", "on", "measure", "value")
SUMMARY_COLUMNS = (
    "comparison", "on", "measure", "step", "seeds", "start", "grpo", "mcpo", "value", "low", "high", "p", "p_holm",
    "tests", "clear",
)  # fmt: skip


def geometry_rows(compared: Compared) -> Iterator[Row]:
    """Yield the measures of GRPO's and MCPO's runs at every step that has them."""
    for method in METHODS:
        for seed, _, run in compared.runs(method):
            for step, on, measured in measured_of(run):
                for name in (*MEASURES, *ON_PROBE):
                    if name in measured:
                        start = {"comparison": compared.name, "method": method, "seed": seed, "step": step, "on": on}
                        yield start | {"measure": name, "value": measured[name]}


def summary_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield MCPO minus GRPO at the last step that both have, paired over the seeds."""
    found: dict[Key, dict[tuple[str, int, int], float]] = defaultdict(dict)
    for row in rows:
        found[row["comparison"], row["on"], row["measure"]][row["method"], row["seed"], row["step"]] = row["value"]
    gaps, means = {}, {}
    for key, values in found.items():
        steps = [{step for method, _, step in values if method == name} for name in METHODS]
        both = steps[0] & steps[1]
        if not both:
            continue
        first, last = min(both), max(both)
        grpo, mcpo = ({s: v for (m, s, step), v in values.items() if m == name and step == last} for name in METHODS)
        gap = paired_over_seeds({seed: mcpo[seed] - grpo[seed] for seed in mcpo if seed in grpo})
        if gap.seeds:
            start = {seed: v for (_, seed, step), v in values.items() if step == first and seed in gap.seeds}
            gaps[key] = gap
            means[key] = {"step": last, "start": over_seeds(start).value}
            means[key] |= {"grpo": over_seeds(grpo).value, "mcpo": over_seeds(mcpo).value}
    for key, gap in gaps.items():
        names = dict(zip(("comparison", "on", "measure"), key, strict=True))
        numbers = {"value": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}
        yield names | means[key] | numbers | {"seeds": len(gap.seeds)}


def adjusted(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows of the summary with p adjusted by Holm for all of them, and whether a difference is clear then."""
    tested = [place for place, row in enumerate(rows) if row["p"] is not None]
    p_holm = dict(zip(tested, holm([rows[place]["p"] for place in tested]), strict=True))
    for place, row in enumerate(rows):
        leaves_out = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        clear = leaves_out and row["seeds"] >= FEWEST_SEEDS and p_holm.get(place, 0) <= 1 - LEVEL
        yield {**row, "p_holm": p_holm.get(place), "tests": len(tested) if place in p_holm else None, "clear": clear}


Key = tuple[str, str, str]
"""Comparison, what it was measured on, measure."""


def measured_of(run: RunDirectory) -> Iterator[tuple[int, str, dict[str, float]]]:
    """Yield step, what was measured on, and measure to value: of the probe set where the run has one."""
    probed = [line for line in run.read_metrics() if any(key.startswith("probe/") for key in line)]
    for line in probed:
        own = {key.removeprefix("probe/"): value for key, value in line.items() if key.startswith("probe/")}
        yield line["step"], "probe set", {name: value for name, value in own.items() if value is not None}
    if probed:
        return
    for step in run.rollout_steps():
        measured = of_rollouts(run.read_rollouts(step)[0])
        if measured:
            yield step, "rollouts", measured


def of_rollouts(batch: RolloutBatch) -> dict[str, float]:
    """Return the measures of the rollouts of a step; none where their hidden states were not kept."""
    if batch.features is None:
        return {}
    usable = np.array(batch.usable) & np.isfinite(batch.features).all(axis=1)
    rows = ProbeRows.of(batch.features, batch.domains, batch.prompt_ids, batch.correct).only(np.flatnonzero(usable))
    if len(rows.names) < 2:
        return {}
    found = alignment(rows) | distances(rows) | overlap(rows)
    return {name: float(found[name]) for name in MEASURES if name in found}
