"""The run directory: what a training run leaves behind, and the only thing that the analysis reads.

    <run>/
      config.yaml                     what was asked for
      manifest.json                   versions, machine, seeds, data fingerprints, command, status
      metrics.jsonl                   one JSON object per logged step
      rollouts/step_000010.parquet    the rollouts of a step, with verdicts and representations
      checkpoints/checkpoint-10       written by the engine
      probe/                          hidden states of fixed rollouts at checkpoints (`mcpo_rl.runs.probe`)
      eval.json                       evaluation after training (eval_start.json: before it)
      eval.completions.parquet        every completion of it, with its verdict

Files appear whole or not at all: each is written beside its place and moved there. Nothing here knows torch or an
engine.
"""

from mcpo_rl.runs.batch import RolloutBatch
from mcpo_rl.runs.directory import RunDirectory

__all__ = ["RolloutBatch", "RunDirectory"]
