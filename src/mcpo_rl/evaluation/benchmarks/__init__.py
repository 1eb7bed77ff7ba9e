"""Benchmarks by name: their problems, how they are put to a model, and how completions are drawn.

>>> from mcpo_rl.evaluation.benchmarks import get_benchmark, load_benchmark
>>> load_benchmark(get_benchmark("humaneval"), limit=1).problems[0].id
'HumanEval/0'
"""

from mcpo_rl.evaluation.benchmarks.base import PROTOCOLS, Benchmark, Part, Protocol, metric_name
from mcpo_rl.evaluation.benchmarks.catalogue import BENCHMARKS, get_benchmark, get_benchmarks
from mcpo_rl.evaluation.benchmarks.prompts import FORMS
from mcpo_rl.evaluation.benchmarks.reading import BenchmarkProblems, load_benchmark

__all__ = [
    "BENCHMARKS",
    "FORMS",
    "PROTOCOLS",
    "Benchmark",
    "BenchmarkProblems",
    "Part",
    "Protocol",
    "get_benchmark",
    "get_benchmarks",
    "load_benchmark",
    "metric_name",
]
