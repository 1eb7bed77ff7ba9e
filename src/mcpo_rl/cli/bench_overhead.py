"""What the contrastive term costs: an optimizer step of `MCPOTrainer` against TRL's `GRPOTrainer`, same rollouts.

Two processes, one a trainer, take turns, so that a busy machine slows both alike and neither sees the other's memory.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

from mcpo_rl.cli.bench_overhead_worker import Setting
from mcpo_rl.cli.bench_phases import PHASES
from mcpo_rl.errors import RunError

METHODS = ("grpo", "mcpo")

CASES: dict[str, dict[str, Any]] = {
    "old log-probs": {"source": "old_logps"},
    "old log-probs, ready completions": {"source": "old_logps", "ready": True},
    "decoding": {"source": "generation"},
    "decoding, verified": {"source": "generation", "reward": "verifier"},
    "one micro-batch": {"source": "training", "whole": True},
    "one micro-batch, ready completions": {"source": "training", "whole": True, "ready": True},
    "training pass": {"source": "training"},
    "training pass, ready completions": {"source": "training", "ready": True},
    "interference alone, every step, ready completions": {"interference": True, "ready": True},
}
"""By where the hidden states come from, and what else a step has to do."""

SMOLLM2_CASES = ("old log-probs, ready completions", "decoding", "training pass, ready completions")
"""Those that matter for a model of a real size; a quarter of an hour on a CPU."""

Progress = Callable[[int, int], None]
"""Told the turns done, and of how many."""


def measure_overhead(
    setting: Setting | None = None,
    cases: Sequence[str] = tuple(CASES),
    progress: Callable[[str], AbstractContextManager[Progress]] = lambda case: nullcontext(lambda done, of: None),
) -> dict[str, Any]:
    """Measure `cases`, names of `CASES`, one after the other.

    Args:
        setting: What the cases have in common.
        cases: Which.
        progress: Opened with the name of each case; what it yields is told the turns.

    Returns:
        What the cases have in common; `time`, `memory` and `phases`: see `time_record`, `memory_record` and
        `phase_records`.

    Raises:
        RunError: the two did not see the same rollouts, or a process failed.
    """
    setting = setting or Setting()
    result: dict[str, Any] = {key: value for key, value in asdict(setting).items() if key in _COMMON}
    result |= {"time": [], "memory": [], "phases": []}
    for name in cases:
        with progress(name) as turned:
            found = measure_case(replace(setting, **CASES[name]), turned)
        result["time"].append({"case": name, **time_record(found)})
        result["memory"].append({"case": name, **memory_record(found)})
        result["phases"] += [{"case": name, **record} for record in phase_records(found)]
    return result


_COMMON = ("model", "prompts", "generations", "micro_batch", "completion_length", "level", "threads")


def measure_case(setting: Setting, progress: Progress) -> dict[str, list[dict[str, Any]]]:
    """Let both trainers take all turns; return the answers of each: the measured turns, then the memory."""
    import torch

    gpu = torch.cuda.is_available()
    with Worker("grpo", setting) as grpo, Worker("mcpo", setting) as mcpo:
        workers = {"grpo": grpo, "mcpo": mcpo}
        for worker in workers.values():
            worker.answer()
        found: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
        for turn in range(setting.turns + 1):
            # Whoever comes second finds another machine: the caches, the clock rate. So the order turns round.
            for method in METHODS if turn % 2 == 0 else reversed(METHODS):
                # On a GPU the phases are measured in every other turn, which then does not count for the ratio.
                workers[method].order("phases" if not gpu or turn % 2 else "go")
                found[method].append(workers[method].answer())
            _check_same_rollouts(*(found[method][-1] for method in METHODS))
            progress(turn, setting.turns)
        for method in METHODS:
            found[method] = [*found[method][1:], workers[method].answer()]
    return found


def _check_same_rollouts(grpo: dict[str, Any], mcpo: dict[str, Any]) -> None:
    if grpo["rollouts"] != mcpo["rollouts"]:
        raise RunError(
            f"The two trainers did not roll out the same tokens ({grpo['tokens']} and {mcpo['tokens']} so far), so "
            "their times cannot be compared."
        )


def time_record(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Compare the times of a case.

    Returns:
        `source` of the hidden states; `pairs` of turns; `grpo_step_s` and `mcpo_step_s`, medians; `ratio`, the median
        over the pairs of MCPO's time over GRPO's, with `low` and `high`, its 95% interval (bootstrap over the pairs);
        `of_medians`, the ratio of the medians; `cpu_ratio`, the median over the pairs for the processors' time, which
        other processes on the machine disturb less (on a GPU it is only what the host does).
    """
    turns = {method: _that_count(found[method][:-1]) for method in METHODS}
    ratios, cpu_ratios = (
        [mcpo[key] / grpo[key] for grpo, mcpo in zip(turns["grpo"], turns["mcpo"], strict=True)]
        for key in ("step_s", "cpu_s")
    )
    medians = {method: statistics.median(turn["step_s"] for turn in turns[method]) for method in METHODS}
    low, high = median_interval(ratios)
    return {
        "source": turns["mcpo"][-1]["source"],
        "pairs": len(ratios),
        "grpo_step_s": medians["grpo"],
        "mcpo_step_s": medians["mcpo"],
        "ratio": statistics.median(ratios),
        "low": low,
        "high": high,
        "of_medians": medians["mcpo"] / medians["grpo"],
        "cpu_ratio": statistics.median(cpu_ratios),
    }


def memory_record(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Compare the peaks of the two processes: resident memory, or the GPU's where there is one.

    Returns:
        `grpo_peak_mib`, `mcpo_peak_mib` and their `ratio`; `ratio_above_start`, of what both took above that which they
        held before training (the libraries and the model); `tokens_per_turn`, prompts and completions of a generation
        batch.
    """
    memory = {method: found[method][-1] for method in METHODS}
    above = {method: memory[method]["peak_mib"] - memory[method]["start_mib"] for method in METHODS}
    return {
        "grpo_peak_mib": memory["grpo"]["peak_mib"],
        "mcpo_peak_mib": memory["mcpo"]["peak_mib"],
        "ratio": memory["mcpo"]["peak_mib"] / memory["grpo"]["peak_mib"],
        "ratio_above_start": above["mcpo"] / above["grpo"] if above["grpo"] > 0 else None,
        "tokens_per_turn": round(found["mcpo"][-2]["tokens"] / len(found["mcpo"])),  # the warm-up, but not the memory
    }


def _that_count(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the turns without measured phases; all where there are no others, since measuring them then is free."""
    return [turn for turn in turns if turn["phases"] is None] or turns


def phase_records(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the mean seconds a step of each phase, by trainer, and what MCPO adds; each adds up to its `step_s`."""
    means: dict[str, dict[str, float]] = {}
    for method in METHODS:
        turns = [turn["phases"] for turn in found[method][:-1] if turn["phases"] is not None]
        means[method] = {name: statistics.fmean(turn[name] for turn in turns) for name in PHASES}
    means["mcpo - grpo"] = {name: means["mcpo"][name] - means["grpo"][name] for name in PHASES}
    return [{"trainer": method, **of, "step_s": sum(of.values())} for method, of in means.items()]


def median_interval(values: list[float], resamples: int = 2000) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of the median of values drawn with replacement."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(resamples))
    return medians[int(0.025 * resamples)], medians[int(0.975 * resamples)]


class Worker:
    """A process that trains, one turn for each order.

    Args:
        method: `grpo` or `mcpo`.
        setting: What it trains on.
    """

    def __init__(self, method: str, setting: Setting) -> None:
        self._method = method
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        command = [sys.executable, "-m", "mcpo_rl.cli.bench_overhead_worker", method, json.dumps(asdict(setting))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin and self._process.stdout
        if error[0] is not None:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def order(self, what: str) -> None:
        """Let it take a turn: `go`, or `phases` to measure those too."""
        assert self._process.stdin
        try:
            print(what, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failure() from None

    def answer(self) -> dict[str, Any]:
        """Return its next answer.

        Raises:
            RunError: it has ended; with its last line.
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        facts: dict[str, Any] = json.loads(line)
        return facts

    def _failure(self) -> RunError:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines() or ["it left no message"]
        return RunError(f"The process that trains with {self._method} ended early: {lines[-1]}")
