"""Evaluation: problems and a model in, accuracy per domain with intervals out.

Knows no trainer; loads torch, transformers and vLLM only when it generates.
"""

from mcpo_rl.evaluation.compare import compare_evaluations
from mcpo_rl.evaluation.completions import completions_path, read_completions
from mcpo_rl.evaluation.evaluating import evaluate, evaluate_with
from mcpo_rl.evaluation.generators import Generated, Generator, Sampling
from mcpo_rl.evaluation.prompts import PromptFormat
from mcpo_rl.evaluation.result import EvaluatedCompletion, EvaluationResult

__all__ = [
    "EvaluatedCompletion",
    "EvaluationResult",
    "Generated",
    "Generator",
    "PromptFormat",
    "Sampling",
    "compare_evaluations",
    "completions_path",
    "evaluate",
    "evaluate_with",
    "read_completions",
]
