"""Does the contrastive term's gradient reach the policy, and is it drowned or dominating? `term.csv`, ten steps a row.

`grad_ratio` is the norm of the term's gradient on the hidden states over that of the policy's; `cosine_DOMAIN` the
cosine of the two in a domain: below 0 a step for the term takes back some of one for the domain; `without_anchor` the
share of the steps at which no rollout had a positive, so that the term was exactly 0.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from mcpo_rl.comparison.seeds import over_seeds
from mcpo_rl.data.procedural.conventions import FAMILIES_USED
from study.results.files import Row
from study.results.reading import Compared

BIN = 10
"""Steps that a row averages."""
MEASURES = {
    "grad_ratio": "contrastive/grad_ratio",
    "policy_grad_norm": "contrastive/policy_grad_norm",
    "grad_norm": "contrastive/grad_norm",
    "weight": "contrastive/weight",
    "anchors": "contrastive/anchors",
    "positives": "contrastive/positives",
    "in_domain_positives": "contrastive/in_domain_positives",
    "transferability": "contrastive/transferability",
    "share_loss": "contrastive/share_loss",
    "consolidate_loss": "contrastive/consolidate_loss",
    "similarity_positive": "contrastive/similarity/cross_positive",
    "similarity_negative": "contrastive/similarity/negative",
    "uniformity": "contrastive/uniformity",
    "advantage_agreement": "contrastive/advantage_agreement",
    **{f"cosine_{domain}": f"interference/term/{domain}" for domain in FAMILIES_USED},
}
COLUMNS = ("comparison", "method", "seed", "first_step", "last_step", *MEASURES, "without_anchor")
SUMMARY_COLUMNS = ("comparison", "method", "label", "quantity", "seeds", "value", "low", "high")


def term_rows(compared: Compared) -> Iterator[Row]:
    """Yield a row per method with a contrastive term, seed and ten steps."""
    for row in compared.rows:
        for seed, _, run in compared.runs(row["method"]):
            lines = [line for line in run.read_metrics() if "contrastive/anchors" in line]
            bins: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
            for line in lines:
                bins[(line["step"] - 1) // BIN].append(line)
            for _, own in sorted(bins.items()):
                steps = {"first_step": own[0]["step"], "last_step": own[-1]["step"]}
                means = {name: _mean(own, key) for name, key in MEASURES.items()}
                idle = fmean([float(line["contrastive/anchors"] == 0) for line in own])
                start = {"comparison": compared.name, "method": row["method"], "seed": seed}
                yield start | steps | means | {"without_anchor": idle}


def summary_rows(rows: Sequence[Row], labels: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """Yield the means over the steps and then over the seeds, per comparison and method."""
    groups: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["comparison"], row["method"]][row["seed"]].append(row)
    for (comparison, method), seeds in groups.items():
        start = {"comparison": comparison, "method": method, "label": labels.get((comparison, method), method)}
        for quantity in (*MEASURES, "without_anchor"):
            values = {seed: _over_bins(own, quantity) for seed, own in seeds.items()}
            one = over_seeds(values)
            if one.seeds:
                numbers = {"seeds": len(one.seeds), "value": one.value, "low": one.low, "high": one.high}
                yield start | {"quantity": quantity, **numbers}


def _mean(lines: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [line[key] for line in lines if isinstance(line.get(key), int | float)]
    return fmean(values) if values else None


def _over_bins(rows: Sequence[Row], quantity: str) -> float:
    known = [(row["last_step"] - row["first_step"] + 1, row[quantity]) for row in rows if row[quantity] is not None]
    steps = sum(count for count, _ in known)
    return math.fsum(count * value for count, value in known) / steps if steps else math.nan
