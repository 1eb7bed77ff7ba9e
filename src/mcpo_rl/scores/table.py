"""An evaluation as a plain-text table, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpo_rl.scores.estimators import Estimate
    from mcpo_rl.scores.record import EvaluationRecord, Summary


def table(record: EvaluationRecord) -> str:
    """Return a line per domain (and per source, where a domain has several), then the averages."""
    largest = max(record.micro.pass_at_k, default=1)
    heads = ["", "problems", "accuracy", "95% interval", *([f"pass@{largest}"] if largest > 1 else [])]
    rows = [[*heads, "truncated", "errors", "tokens"]]
    for domain, summary in record.domains.items():
        rows.append(_row(domain, summary, largest))
        sources = {name: s for name, s in record.sources.items() if name.partition("/")[0] == domain}
        if len(sources) > 1:
            rows += [_row("  " + name.partition("/")[2], source, largest) for name, source in sources.items()]
    if len(record.domains) > 1:
        rows.append(["mean of domains", str(record.macro.problems), *_accuracy(record.macro)])
        rows.append(_row("all problems", record.micro, largest))
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def _row(name: str, summary: Summary, k: int) -> list[str]:
    passed = [f"{summary.pass_at_k[k].value:.3f}" if k in summary.pass_at_k else "-"] if k > 1 else []
    shares = [f"{summary.truncated:.1%}", f"{summary.errors:.1%}", f"{summary.completion_length:.0f}"]
    return [name, str(summary.problems), *_accuracy(summary.accuracy), *passed, *shares]


def _accuracy(estimate: Estimate) -> list[str]:
    if not estimate.problems:
        return ["-", "nothing judged"]
    return [f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
    return "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()
