"""Analysis of finished, running and broken-off runs. Reads run directories and nothing else."""

from mcpo_rl.analysis.report import write_report

__all__ = ["write_report"]
