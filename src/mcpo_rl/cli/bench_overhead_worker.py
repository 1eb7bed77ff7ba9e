"""One of the two processes of `mcpo-rl bench overhead`: trains, a turn at a time, when it is told to.

Run as `python -m mcpo_rl.cli.bench_overhead_worker METHOD SETTING`. It answers each line on its standard input with a
line of JSON on its standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mcpo_rl.cli.bench_phases import PhaseClock, clock_optimizer, clock_trainer


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One measurement: what is trained on, and how. A turn is a generation batch and the optimizer steps it feeds."""

    model: str = "builtin:tiny"
    """As `load_model_and_tokenizer` takes it."""
    source: str = "generation"
    """`feature_source` of MCPO; with `old_logps` a turn is two optimizer steps, for which TRL computes them."""
    ready: bool = False
    """Completions are there at once, made of random tokens, as if other devices had generated them."""
    interference: bool = False
    """Measured in the place of the contrastive term: the domains' gradients compared at every step."""
    reward: str = "parity"
    """`parity` of the first token (costs nothing), or the domains' `verifier`."""
    turns: int = 12
    """Measured turns of each trainer; one more before them is not counted."""
    prompts: int = 6
    """Prompts of an optimizer step, of three domains."""
    generations: int = 8
    """Rollouts of each prompt."""
    micro_batch: int = 12
    """Rollouts of one backward pass."""
    whole: bool = False
    """One backward pass for all rollouts of an optimizer step, whatever `micro_batch` says."""
    completion_length: int = 64
    """Tokens that a completion may have."""
    level: int = 1
    """Difficulty of the procedural prompts: longer prompts at higher levels."""
    threads: int = 1
    """Of torch on the CPU. Several that wait for each other would measure, on a busy machine, how busy it is."""

    @property
    def steps_per_turn(self) -> int:
        """Optimizer steps of a turn."""
        return 2 if self.source == "old_logps" else 1


@contextmanager
def make_trainer(setting: Setting, method: str) -> Iterator[Any]:
    """Yield the trainer of `method` (`grpo`: TRL's own, `mcpo`) with a directory that goes at the end.

    The learning rate is 0 (the optimizer still works), so both methods see the same rollouts.
    """
    import torch
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from mcpo_rl.data import to_dataset
    from mcpo_rl.models import load_model_and_tokenizer
    from mcpo_rl.rewards import verifier_reward
    from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

    torch.set_num_threads(setting.threads)
    cuda = torch.cuda.is_available()
    model, tokenizer = load_model_and_tokenizer(setting.model)
    trainer_class, config = (MCPOTrainer, MCPOConfig) if method == "mcpo" else (GRPOTrainer, GRPOConfig)
    own: dict[str, Any] = {}
    if method == "mcpo" and setting.interference:
        own = {"contrastive_coef": 0.0, "interference_steps": 1}
    elif method == "mcpo":
        own = {"contrastive_warmup_steps": 0, "feature_source": setting.source, "interference_steps": 0}
    rollouts = setting.prompts * setting.generations
    micro_batch = rollouts if setting.whole else setting.micro_batch
    accumulation = rollouts // micro_batch
    with tempfile.TemporaryDirectory() as directory:
        trainer = trainer_class(
            model,
            verifier_reward if setting.reward == "verifier" else _parity_reward,
            config(
                output_dir=directory,
                per_device_train_batch_size=micro_batch,
                gradient_accumulation_steps=accumulation,
                steps_per_generation=accumulation * setting.steps_per_turn,
                num_generations=setting.generations,
                max_completion_length=setting.completion_length,
                max_steps=setting.steps_per_turn * (setting.turns + 1),
                learning_rate=0.0,
                gradient_checkpointing=False,
                bf16=cuda,
                dataloader_pin_memory=cuda,
                save_strategy="no",
                logging_steps=1,
                report_to=[],
                disable_tqdm=True,
                seed=0,
                **own,
            ),
            to_dataset(_problems(setting)),
            processing_class=tokenizer,
            rollout_func=_ready_rollouts(setting.completion_length) if setting.ready else None,
        )
        trainer.remove_callback(PrinterCallback)  # what is printed here is the measurement
        yield trainer


def _problems(setting: Setting) -> list[Any]:
    from mcpo_rl.data.procedural import generate

    per_domain = -(-setting.prompts // 3) * setting.steps_per_turn * (setting.turns + 1)
    return [
        problem
        for domain in ("math", "code", "logic")
        for problem in generate(domain=domain, split="train", count=per_domain, seed=0, level=setting.level)
    ]


def _parity_reward(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    return [float(ids[0] % 2) for ids in completion_ids]


def _ready_rollouts(longest: int) -> Callable[[list[Any], Any], dict[str, Any]]:
    """Return a `rollout_func` of TRL: completions of random tokens, a quarter of `longest` to `longest` of them."""

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        chance, tokenizer = random.Random(trainer.state.global_step), trainer.processing_class
        lengths = [chance.randint(max(1, longest // 4), longest) for _ in prompts]
        return {
            "prompt_ids": [
                tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
                for prompt in prompts
            ],
            "completion_ids": [[chance.randrange(len(tokenizer)) for _ in range(length)] for length in lengths],
            "logprobs": None,
        }

    return roll_out


class Turns:
    """Trains in turns: waits for `go`, then reports what came since the last one.

    Args:
        trainer: from `make_trainer`.
        steps_per_turn: optimizer steps of a turn.
        wait: returns when the next turn may begin; True: with its phases measured (on a GPU that takes waiting for the
            device, which slows the turn).
        report: takes, of a turn, `step_s`, `cpu_s` (of all threads of this process), `phases` (None where they were not
            measured), `rollouts` (a fingerprint of its tokens), `tokens` (rolled out and read so far) and `source`.
    """

    def __init__(
        self, trainer: Any, steps_per_turn: int, wait: Callable[[], bool], report: Callable[[dict[str, Any]], None]
    ) -> None:
        self._trainer, self._steps, self._wait, self._report = trainer, steps_per_turn, wait, report
        self._rollouts = hashlib.blake2b(digest_size=8)
        self._phased = self._running = False
        self._clock = PhaseClock(self._synchronize)
        self._times = {"step_s": PhaseClock(_synchronize), "cpu_s": PhaseClock(now=time.process_time)}
        clock_trainer(trainer, self._clock)
        original = trainer._generate

        def generate(prompts: list[Any]) -> tuple[Any, ...]:
            generated: tuple[Any, ...] = original(prompts)
            self._rollouts.update(json.dumps(generated[:2]).encode())
            return generated

        trainer._generate = generate

    def train(self) -> None:
        """Take all the turns."""
        from transformers import TrainerCallback

        turns = self

        class Baton(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
            def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
                clock_optimizer(turns._trainer, turns._clock)

            def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                if state.global_step % turns._steps == 0:
                    turns._end()
                    turns._begin()

            def on_train_end(self, *args: Any, **kwargs: Any) -> None:
                turns._end()

        self._trainer.add_callback(Baton())
        self._trainer.train()

    def _begin(self) -> None:
        self._phased, self._running = self._wait(), True
        for clock in (*self._times.values(), self._clock):
            clock.start()

    def _end(self) -> None:
        if not self._running:
            return
        phases = self._clock.stop()
        times = {name: sum(clock.stop().values()) / self._steps for name, clock in self._times.items()}
        self._running = False
        self._report(
            {
                **times,
                "phases": {name: seconds / self._steps for name, seconds in phases.items()} if self._phased else None,
                "rollouts": self._rollouts.hexdigest(),
                "tokens": self._trainer.state.num_input_tokens_seen,
                "source": getattr(self._trainer, "feature_source_in_use", None),
            }
        )

    def _synchronize(self) -> None:
        if self._phased:
            _synchronize()


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def own_memory_mib() -> tuple[float, float]:
    """Return what this process holds and the most it held, in MiB: of the GPU's memory where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 2**20, torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage may still hold the peak of the process that started this one
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) / 2**10, int(fields["VmHWM"].split()[0]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_mib = peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere
    return peak_mib, peak_mib


def serve(setting: Setting, method: str, orders: TextIO, answers: TextIO) -> None:
    """Train as `orders` say (`go`, `phases`, one a line), and answer each on `answers`; then the memory.

    The first answer, to no order, says that the model is there.
    """

    def wait() -> bool:
        order = orders.readline().strip()
        if not order:  # the one who asks is gone
            raise SystemExit(1)
        return order == "phases"

    def answer(facts: dict[str, Any]) -> None:
        print(json.dumps(facts), file=answers, flush=True)

    with make_trainer(setting, method) as trainer:
        at_start, _ = own_memory_mib()
        answer({"ready": True})
        Turns(trainer, setting.steps_per_turn, wait, answer).train()
        answer({"start_mib": at_start, "peak_mib": own_memory_mib()[1]})


def main() -> None:
    """Serve on the standard input and output; what libraries print goes to the standard error."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # `rollout_func` is what is asked for here
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Setting(**json.loads(sys.argv[2])), sys.argv[1], sys.stdin, answers)


if __name__ == "__main__":
    main()
