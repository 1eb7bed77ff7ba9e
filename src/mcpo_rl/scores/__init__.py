"""What an evaluation comes down to: a score per problem, and estimates with their intervals. Knows no model."""

from mcpo_rl.scores.estimators import Estimate, bootstrap_mean, maj_at_k, pass_at_k, stratified_mean
from mcpo_rl.scores.multiplicity import holm
from mcpo_rl.scores.paired import Comparison, Difference, check_same_problems, compare_records
from mcpo_rl.scores.permutation import sign_flip_test
from mcpo_rl.scores.record import EvaluationRecord, ProblemScore, Summary

__all__ = [
    "Comparison",
    "Difference",
    "Estimate",
    "EvaluationRecord",
    "ProblemScore",
    "Summary",
    "bootstrap_mean",
    "check_same_problems",
    "compare_records",
    "holm",
    "maj_at_k",
    "pass_at_k",
    "sign_flip_test",
    "stratified_mean",
]
