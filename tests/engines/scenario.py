"""What is trained, apart from the engine and the number of ranks: one line per setting that could break exactness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from trainers.conftest import make_tokenizer

ROLLOUTS = 32
"""Of a generation batch over all ranks: 8 prompts x 4."""
GENERATIONS = 4
COEF = 0.05
"""Policy and contrastive term then have gradients of similar size: an error in either shows in their sum."""
END = 1


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One trainer: a few optimizer steps on one generation batch (more where `steps` says so)."""

    family: str = "llama"
    tied: bool | None = None
    scale: float = 0.3
    """Standard deviation of the initial weights: as large as this, predictions depend on the tokens."""
    rollouts: str | None = "uneven"
    """A key of `LENGTHS`; None: the model generates."""
    accumulation: int = 2
    steps_per_generation: int | None = None
    iterations: int = 1
    steps: int = 1
    learning_rate: float = 0.0
    model_first: bool = False
    """Whether the model is made before the engine is known. Else ZeRO-3 shards it while it is made, and draws other
    weights."""
    lora: bool = False
    bf16: bool = False
    source: str | None = None
    """The pass that features come from; None where it depends on the engine."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further fields of `MCPOConfig`."""

    @property
    def micro_batches(self) -> int:
        """Of a generation batch, per rank."""
        return self.steps_per_generation or self.accumulation

    def arguments(self, ranks: int) -> dict[str, Any]:
        """Return the fields of `MCPOConfig`; the generation batch is the same for every number of ranks."""
        settings: dict[str, Any] = {
            "per_device_train_batch_size": ROLLOUTS // (ranks * self.micro_batches),
            "gradient_accumulation_steps": self.accumulation,
            "steps_per_generation": self.micro_batches,
            "num_iterations": self.iterations,
            "num_generations": GENERATIONS,
            "max_completion_length": 12,
            "optim": "sgd",
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.0,
            "max_steps": self.steps,
            "contrastive_coef": COEF,
            "contrastive_warmup_steps": 0,
            "bf16": self.bf16,
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "seed": 7,
        }
        return {**settings, **self.options}


def checkpointing(*, reentrant: bool) -> dict[str, Any]:
    return {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}


SCENARIOS: dict[str, Scenario] = {
    "accumulation_1": Scenario(accumulation=1),
    "accumulation_2": Scenario(family="qwen2"),
    "accumulation_4": Scenario(family="qwen3", accumulation=4),
    "lengths_of_one_rank": Scenario(family="mistral", rollouts="long_rank"),
    "rank_without_a_correct_rollout": Scenario(family="gemma", rollouts="wrong_rank"),
    "rank_without_a_usable_rollout": Scenario(rollouts="unscored_rank"),
    "rank_without_a_token_that_counts": Scenario(
        rollouts="truncated_rank", options={"mask_truncated_completions": True}
    ),
    "reentrant_checkpointing": Scenario(family="qwen3", options=checkpointing(reentrant=True)),
    "checkpointing": Scenario(family="gemma3", options=checkpointing(reentrant=False)),
    "lora": Scenario(lora=True),
    "lora_checkpointing": Scenario(family="qwen2", lora=True, options=checkpointing(reentrant=False)),
    "tied": Scenario(tied=True),
    "untied_gemma": Scenario(family="gemma", tied=False, options={"loss_type": "grpo"}),
    "experts": Scenario(
        family="qwen3_moe", accumulation=4, options={"loss_type": "dr_grpo", "router_aux_loss_coef": 0.0}
    ),
    "experts_balanced": Scenario(family="qwen3_moe"),
    "bf16": Scenario(bf16=True, family="qwen3", scale=0.05),  # 0.3 magnifies rounding tenfold
    "middle_layer": Scenario(options={"feature_layer": 0, "feature_pooling": "last"}),
    "pairs_otherwise": Scenario(
        options={"mutual_positives": True, "detach_positives": True, "negatives": "domain", "num_positives": 2}
    ),
    "prompts_as_anchors": Scenario(family="qwen2", options={"anchors": "prompt"}),
    "several_steps_per_generation": Scenario(steps_per_generation=4, steps=2, source="old_logps"),
    "several_iterations": Scenario(family="qwen2", iterations=2, steps=2, source="old_logps"),
    "refreshed": Scenario(
        iterations=2, steps=2, learning_rate=0.05, source="old_logps", options={"refresh_contrastive_grads": True}
    ),
    "refreshed_within_a_generation": Scenario(
        family="gemma3",
        steps_per_generation=4,
        steps=2,
        learning_rate=0.05,
        source="old_logps",
        options={"refresh_contrastive_grads": True},
    ),
    "sampled": Scenario(rollouts=None),
    "sampled_last_token": Scenario(rollouts=None, options={"feature_pooling": "last", "feature_layer": 1}),
    "sampled_lora": Scenario(rollouts=None, lora=True),
    # Relative strength, three generations: compared with the same on one rank.
    "training": Scenario(
        steps=3,
        learning_rate=0.05,
        model_first=True,
        options={"contrastive_coef": None, "contrastive_warmup_steps": 2},
    ),
}


FOUR_RANKS = (
    "accumulation_1",
    "accumulation_4",
    "lengths_of_one_rank",
    "rank_without_a_correct_rollout",
    "rank_without_a_usable_rollout",
    "rank_without_a_token_that_counts",
    "lora",
    "experts_balanced",
    "several_steps_per_generation",
    "training",
)
ONE_RANK = ("accumulation_1", "accumulation_4", "bf16", "several_steps_per_generation", "refreshed", "training")


def _uneven(rank: int, ranks: int, generator: torch.Generator) -> tuple[int, int]:
    return 2, 12


def _long_rank(rank: int, ranks: int, generator: torch.Generator) -> tuple[int, int]:
    return (11, 12) if rank == ranks - 1 else (1, 4)


LENGTHS: dict[str, Callable[..., tuple[int, int]]] = {
    "uneven": _uneven,
    "long_rank": _long_rank,
    "wrong_rank": _uneven,
    "unscored_rank": _uneven,
    "truncated_rank": _uneven,
}
"""Shortest and longest completion on a rank."""


def make_rollouts(kind: str, rank: int, ranks: int) -> Callable[[list[Any], Any], dict[str, Any]]:
    """Return a rollout function whose completions depend on the prompt and on what `kind` says of the last rank."""
    tokenizer = make_tokenizer()
    last = rank == ranks - 1

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        seen: dict[str, int] = {}
        prompt_ids, completion_ids = [], []
        for prompt in prompts:
            text = prompt[0]["content"]
            seen[text] = seen.get(text, -1) + 1
            generator = torch.Generator().manual_seed(sum(map(ord, text)) * 10 + seen[text])
            shortest, longest = LENGTHS[kind](rank, ranks, generator)
            length = int(torch.randint(shortest, longest + 1, (), generator=generator))
            ids = torch.randint(3, 26, (length,), generator=generator).tolist()
            if kind == "wrong_rank" and last:
                ids[0] -= ids[0] % 2  # see parity_reward
            if kind == "truncated_rank" and not last and seen[text] % 3:
                ids.append(END)
            prompt_ids.append(tokenizer(text)["input_ids"])
            completion_ids.append(ids)
        return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}

    return roll_out


def make_reward(kind: str | None, rank: int, ranks: int) -> Callable[..., list[float | None]]:
    """1 where the first token's number is odd; nothing at all from the last rank of `unscored_rank`."""

    def odd(completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        unscored = kind == "unscored_rank" and rank == ranks - 1
        return [None if unscored else float(ids[0] % 2) for ids in completion_ids]

    return odd
