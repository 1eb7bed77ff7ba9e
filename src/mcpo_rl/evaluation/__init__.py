"""Evaluation: problems and a model in, accuracy per domain with intervals out.

Knows no trainer; loads torch and transformers only when it generates.
"""

from mcpo_rl.evaluation.compare import compare_evaluations
from mcpo_rl.evaluation.evaluating import evaluate
from mcpo_rl.evaluation.result import EvaluatedCompletion, EvaluationResult

__all__ = ["EvaluatedCompletion", "EvaluationResult", "compare_evaluations", "evaluate"]
