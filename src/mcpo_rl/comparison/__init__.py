"""Methods side by side: what is run for a fair comparison, how far it is, and what came out.

    <out>/
      comparison.yaml                            the plan: recipe, methods, seeds, budget
      recipes/mcpo/seed_0.yaml                   what each run is, to be started by hand just as well
      runs/mcpo/seed_0/                          run directories
      runs/single/seed_0/math/                   those of specialists, and of the stages of `sequential`
      logs/mcpo/seed_0.log                       what each run printed
      comparison.json  comparison.md  comparison.tex

Runs are separate commands (`mcpo-rl train`, `mcpo-rl merge`): this package plans them, starts them and reads the run
directories that they leave. It imports neither torch nor a trainer.
"""

from mcpo_rl.comparison.budget import BUDGETS, Batch
from mcpo_rl.comparison.methods import METHODS, Method, methods_of
from mcpo_rl.comparison.plan import Plan, Task, read_plan
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.comparison.result import ComparisonResult, Row, collect
from mcpo_rl.comparison.running import Failed, run_tasks
from mcpo_rl.comparison.seeds import SeedDifference, SeedEstimate

__all__ = [
    "BUDGETS",
    "METHODS",
    "Batch",
    "ComparisonResult",
    "Failed",
    "Method",
    "Plan",
    "Row",
    "SeedDifference",
    "SeedEstimate",
    "Task",
    "collect",
    "make_plan",
    "methods_of",
    "read_plan",
    "run_tasks",
]
