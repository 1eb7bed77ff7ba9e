"""Results as text for a terminal."""

from __future__ import annotations

from mcpo_rl.scores import Estimate, EvaluationRecord


def evaluation_table(record: EvaluationRecord) -> str:
    """Return accuracy per domain with its 95% interval, pass@k for the largest k, truncation and verifier errors."""
    rows = [("domain", "problems", "accuracy", "95% interval", "pass@k", "truncated", "errors")]
    for name, summary in [*record.domains.items(), ("all problems", record.micro)]:
        k = max(summary.pass_at_k, default=None)
        rows.append(
            (
                name,
                str(summary.problems),
                *_estimate(summary.accuracy),
                "-" if k is None else f"{summary.pass_at_k[k].value:.3f} (k={k})",
                f"{summary.truncated:.1%}",
                f"{summary.errors:.1%}",
            )
        )
    if len(record.domains) > 1:
        rows.append(("mean of domains", "", *_estimate(record.macro), "", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _estimate(estimate: Estimate) -> tuple[str, str]:
    return f"{estimate.value:.3f}", f"{estimate.low:.3f} .. {estimate.high:.3f}"
