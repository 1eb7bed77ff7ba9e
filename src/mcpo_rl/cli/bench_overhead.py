"""What the contrastive term costs: an optimizer step of `MCPOTrainer` against TRL's `GRPOTrainer`, same rollouts."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One measurement: what is trained on."""

    model: str = "builtin:tiny"
    """As `load_model_and_tokenizer` takes it."""
    steps: int = 8
    """Measured optimizer steps of each trainer; one more before them is not counted."""
    prompts: int = 6
    """Prompts of a generation batch, of three domains."""
    generations: int = 8
    """Rollouts of each prompt."""
    micro_batch: int = 12
    """Rollouts of one backward pass."""
    completion_length: int = 64
    """Tokens a completion may have."""
    level: int = 1
    """Level of difficulty of the procedural prompts: longer prompts at higher levels."""


def measure_overhead(model: str = "builtin:tiny", steps: int = 8, **options: int) -> dict[str, float]:
    """Time both trainers step by step in turns, then the peak memory of each in a process of its own.

    Both sample with the same random numbers at the same weights (the learning rate is 0, the optimizer still works), so
    they see the same rollouts. The reward is the parity of the first token: no verifier blurs the ratio.

    Args:
        model: as `mcpo_rl.models.load_model_and_tokenizer` takes it.
        steps: measured optimizer steps of each trainer.
        **options: other fields of `Setting`.

    Returns:
        `time_ratio` (median over the pairs of steps), `grpo_step_s`, `mcpo_step_s` (medians), `pool_phase_s` (median),
        `memory_ratio` (of the processes' peak resident sizes), `grpo_peak_mib`, `mcpo_peak_mib`, `rollouts`, `tokens`
        (generated and read in all, the same for both).

    Raises:
        RunError: the two did not see the same rollouts, or a process failed.
    """
    setting = Setting(model=model, steps=steps, **options)
    found = measure_time(setting)
    grpo, mcpo = (_peak_in_a_process(setting, method) for method in ("grpo", "mcpo"))
    return {**found, "memory_ratio": mcpo / grpo, "grpo_peak_mib": grpo, "mcpo_peak_mib": mcpo}


def measure_time(setting: Setting) -> dict[str, float]:
    """Return the part of `measure_overhead` that concerns time."""
    with _trainer(setting, "grpo") as grpo, _trainer(setting, "mcpo") as mcpo:
        pool_times = _time_calls(mcpo, "_run_pool_phase")
        grpo_times, mcpo_times = _in_turns([grpo, mcpo])
        tokens = [trainer.state.num_input_tokens_seen for trainer in (grpo, mcpo)]
    if tokens[0] != tokens[1]:
        raise RunError(f"The two trainers saw {tokens[0]} and {tokens[1]} tokens: not the same rollouts.")
    return {
        "time_ratio": statistics.median(ours / theirs for ours, theirs in zip(mcpo_times, grpo_times, strict=True)),
        "grpo_step_s": statistics.median(grpo_times),
        "mcpo_step_s": statistics.median(mcpo_times),
        "pool_phase_s": statistics.median(pool_times[1:]),
        "rollouts": float(setting.prompts * setting.generations),
        "tokens": float(tokens[0]),
    }


def _parity_reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    return [float(ids[0] % 2) for ids in completion_ids]


@contextmanager
def _trainer(setting: Setting, method: str) -> Iterator[Any]:
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from mcpo_rl.data import to_dataset
    from mcpo_rl.data.procedural import generate
    from mcpo_rl.models import load_model_and_tokenizer
    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

    per_domain = -(-setting.prompts // 3) * (setting.steps + 1)
    problems = [
        problem
        for domain in ("math", "code", "logic")
        for problem in generate(domain=domain, split="train", count=per_domain, seed=0, level=setting.level)
    ]
    model, tokenizer = load_model_and_tokenizer(setting.model)
    own: dict[str, Any] = {"contrastive_warmup_steps": 0} if method == "mcpo" else {}
    trainer_class, config = (MCPOTrainer, MCPOConfig) if method == "mcpo" else (GRPOTrainer, GRPOConfig)
    with tempfile.TemporaryDirectory() as directory:
        trainer = trainer_class(
            model,
            _parity_reward,
            config(
                output_dir=directory,
                per_device_train_batch_size=setting.micro_batch,
                gradient_accumulation_steps=setting.prompts * setting.generations // setting.micro_batch,
                num_generations=setting.generations,
                max_completion_length=setting.completion_length,
                max_steps=setting.steps + 1,
                learning_rate=0.0,
                gradient_checkpointing=False,
                bf16=False,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=0,
                **own,
            ),
            to_dataset(problems),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)  # what is printed here is the measurement
        yield trainer


def _in_turns(trainers: list[Any]) -> list[list[float]]:
    """Train all of them in turns, a step each; return the times of their steps but the first.

    transformers' training loop cannot be entered step by step, so each trainer has a thread and a callback
    hands a baton around. Each keeps a random state of its own.
    """
    import torch
    from transformers import TrainerCallback

    batons = [threading.Semaphore(0) for _ in trainers]
    times: list[list[float]] = [[] for _ in trainers]
    failures: list[BaseException] = []

    class Turn(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
        def __init__(self, index: int) -> None:
            self.index, self.started = index, 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            state = torch.get_rng_state()
            batons[(self.index + 1) % len(trainers)].release()
            batons[self.index].acquire()
            torch.set_rng_state(state)
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times[self.index].append(time.perf_counter() - self.started)

    def work(index: int) -> None:
        batons[index].acquire()
        try:
            if not failures:
                torch.manual_seed(0)
                trainers[index].train()
        except BaseException as error:  # carried to the caller's thread
            failures.append(error)
        batons[(index + 1) % len(trainers)].release()

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(trainers))]
    for index, (trainer, thread) in enumerate(zip(trainers, threads, strict=True)):
        trainer.add_callback(Turn(index))
        thread.start()
    batons[0].release()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [steps[1:] for steps in times]


def _time_calls(target: Any, name: str) -> list[float]:
    """Record how long each call of a method of `target` takes."""
    original, times = getattr(target, name), []

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            times.append(time.perf_counter() - started)

    setattr(target, name, timed)
    return times


def _peak_in_a_process(setting: Setting, method: str) -> float:
    """Return the peak resident size, in MiB, of a process that trains with `method` for a few steps."""
    command = [sys.executable, "-m", "mcpo_rl.cli.bench_overhead", method, json.dumps(asdict(setting))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"The process that measures the memory of {method} failed: {last}")
    return float(done.stdout.strip().splitlines()[-1])


def _print_own_peak(method: str, setting: Setting) -> None:
    with _trainer(setting, method) as trainer:
        trainer.train()
    print(_own_peak_mib())


def _own_peak_mib() -> float:
    import resource

    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage may still hold the peak of the process that started this one
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere


if __name__ == "__main__":
    _print_own_peak(sys.argv[1], Setting(**json.loads(sys.argv[2])))
