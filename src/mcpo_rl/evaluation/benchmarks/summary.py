"""Several benchmarks of one model side by side: a table, averages, a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcpo_rl.evaluation.benchmarks.base import metric_name
from mcpo_rl.runs.files import write_text
from mcpo_rl.scores import Estimate, EvaluationRecord, stratified_mean
from mcpo_rl.scores.record import accuracies

FORMAT = 1


def benchmark_means(records: Mapping[str, EvaluationRecord]) -> dict[str, Estimate]:
    """Return the accuracy of each domain and of all, every benchmark with the same weight.

    Args:
        records: Evaluations by the benchmark's name.

    Returns:
        By domain (its mean over its benchmarks), then `all` (the mean over all benchmarks, as papers report it); the
        intervals are from drawing problems anew within each benchmark.
    """
    domains = sorted({domain for record in records.values() for domain in record.domains})
    means = {
        domain: stratified_mean([accuracies(record.scores, domain) for record in records.values()])
        for domain in domains
    }
    return means | {"all": stratified_mean([accuracies(record.scores) for record in records.values()])}


def benchmark_table(records: Mapping[str, EvaluationRecord]) -> str:
    """Return a line for each benchmark, then the means over the benchmarks of a domain and over all."""
    heads = ["benchmark", "problems", "metric", "accuracy", "95% interval", "truncated", "errors", "tokens", "left out"]
    rows = [heads]
    for name, record in records.items():
        summary = record.micro
        rows.append(
            [
                name,
                str(summary.problems),
                metric_name(record.settings.get("samples", 1)),
                *_estimate(summary.accuracy),
                f"{summary.truncated:.1%}",
                f"{summary.errors:.1%}",
                f"{summary.completion_length:.0f}",
                str(_left_out(record)),
            ]
        )
    if len(records) > 1:
        for name, mean in benchmark_means(records).items():
            count = sum(name in record.domains for record in records.values()) if name != "all" else len(records)
            label = f"mean of {count} in {name}" if name != "all" else f"mean of all {count}"
            if name == "all" or count > 1:
                rows.append([label, str(mean.problems), "", *_estimate(mean)])
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False))]
        ).rstrip()
        for row in rows
    )


def summary_json(records: Mapping[str, EvaluationRecord]) -> dict[str, Any]:
    """Return the same as plain JSON data; each benchmark's own file has the scores of its problems."""
    return {
        "format": FORMAT,
        "model": next((record.model for record in records.values()), ""),
        "benchmarks": {
            name: {
                "metric": metric_name(record.settings.get("samples", 1)),
                **record.micro.to_json(),
                "left_out": _left_out(record),
                "settings": record.settings,
            }
            for name, record in records.items()
        },
        "means": {name: mean.to_json() for name, mean in benchmark_means(records).items()},
    }


def write_summary(records: Mapping[str, EvaluationRecord], folder: Path) -> Path:
    """Write `benchmarks.json` into `folder`; return its path.

    Raises:
        RunError: It could not be written.
    """
    path = folder / "benchmarks.json"
    write_text(path, json.dumps(summary_json(records), indent=1) + "\n")
    return path


def _left_out(record: EvaluationRecord) -> int:
    return sum(record.facts.get("dropped", {}).values())


def _estimate(estimate: Estimate) -> list[str]:
    if not estimate.problems:
        return ["-", "nothing judged"]
    return [f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"]
