"""What an evaluation comes down to: a score per problem, and estimates with their intervals. Knows no model."""

from mcpo_rl.scores.estimators import Estimate, bootstrap_mean, pass_at_k, stratified_mean
from mcpo_rl.scores.paired import Comparison, compare_records
from mcpo_rl.scores.record import EvaluationRecord, ProblemScore, Summary

__all__ = [
    "Comparison",
    "Estimate",
    "EvaluationRecord",
    "ProblemScore",
    "Summary",
    "bootstrap_mean",
    "compare_records",
    "pass_at_k",
    "stratified_mean",
]
