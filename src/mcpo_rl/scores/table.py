"""An evaluation, and the difference of two, as plain-text tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpo_rl.scores.estimators import Estimate
    from mcpo_rl.scores.paired import Comparison, Difference
    from mcpo_rl.scores.record import EvaluationRecord, Summary


def table(record: EvaluationRecord) -> str:
    """Return a line per domain (and per source, where a domain has several), then the averages."""
    k = max(record.micro.pass_at_k, default=1)
    everywhere = k > 1 and {score.samples for score in record.scores} == {k}
    heads = ["", "problems", f"avg@{k}" if everywhere else "accuracy", "95% interval"]
    rows = [[*heads, *([f"pass@{k}", f"maj@{k}"] if k > 1 else []), "truncated", "errors", "tokens"]]
    for domain, summary in record.domains.items():
        rows.append(_row(domain, summary, k))
        sources = {name: s for name, s in record.sources.items() if name.partition("/")[0] == domain}
        if len(sources) > 1:
            rows += [_row("  " + name.partition("/")[2], source, k) for name, source in sources.items()]
    if len(record.domains) > 1:
        tries = [_at(record.macro_pass_at_k, k), _at(record.macro_maj_at_k, k)] if k > 1 else []
        rows.append(["mean of domains", str(record.macro.problems), *_accuracy(record.macro), *tries])
        rows.append(_row("all problems", record.micro, k))
    return _lines(rows)


def comparison_table(comparison: Comparison) -> str:
    """Return a line per domain, then the averages, then what makes the comparison less than fair."""
    rows = [["", "problems", "difference", "95% interval", "p", "better", "worse"]]
    rows += [_difference_row(name, difference) for name, difference in comparison.domains.items()]
    if len(comparison.domains) > 1:
        rows.append(_difference_row("mean of domains", comparison.macro))
        rows.append(_difference_row("all problems", comparison.micro))
    return "\n".join([_lines(rows), *(f"note: {remark}" for remark in comparison.remarks)])


def _row(name: str, summary: Summary, k: int) -> list[str]:
    tries = [_at(summary.pass_at_k, k), _at(summary.maj_at_k, k)] if k > 1 else []
    shares = [f"{summary.truncated:.1%}", f"{summary.errors:.1%}", f"{summary.completion_length:.0f}"]
    return [name, str(summary.problems), *_accuracy(summary.accuracy), *tries, *shares]


def _accuracy(estimate: Estimate) -> list[str]:
    if not estimate.problems:
        return ["-", "nothing judged"]
    return [f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"]


def _at(by_k: Mapping[int, Estimate], k: int) -> str:
    return f"{by_k[k].value:.3f}" if k in by_k else "-"


def _difference_row(name: str, difference: Difference) -> list[str]:
    if not difference.problems:
        return [name, "0", "-", "nothing judged"]
    interval = f"{difference.low:+.3f} to {difference.high:+.3f}"
    p_value = f"{difference.p_value:.3f}" if difference.p_value >= 0.001 else "<0.001"
    counts = [str(difference.better), str(difference.worse)]
    return [name, str(difference.problems), f"{difference.value:+.3f}", interval, p_value, *counts]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
    return "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()
