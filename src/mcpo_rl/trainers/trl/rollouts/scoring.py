"""What is known of a generation batch once it is scored: the rollouts of all ranks as plain tensors.

Axes: N rollouts of all ranks, rank by rank; B of them on this rank; F reward functions; G rollouts per prompt.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import IterableDataset
from torch import Tensor

from mcpo_rl.trainers.trl.rollouts.domain_column import domains_of


@dataclass(frozen=True, kw_only=True)
class JudgedRollouts:
    """What a pool has to know of the N rollouts of all ranks, rank by rank, beside their features."""

    domains: Tensor
    """(N,) int64, numbers of a `DomainIndex`."""
    prompts: Tensor
    """(N,) int64: rollouts of one prompt share one number."""
    rewards: Tensor
    """(N,) float32, weighted and summed over the reward functions as TRL logs it; NaN where none could score."""


@dataclass(frozen=True, kw_only=True)
class ScoredRollouts(JudgedRollouts):
    """The rollouts of all ranks, as scored."""

    lengths: Tensor
    """(N,) int64, tokens of the completion."""
    truncated: Tensor
    """(N,) bool: cut off before an end token, as TRL decides it."""
    informative: Tensor
    """(N,) bool: the rewards of its group are not all equal, so that there are advantages to learn from."""

    def replaced(self, rows: Tensor, other: ScoredRollouts, other_rows: Tensor) -> ScoredRollouts:
        """Return these rollouts with `other`'s `other_rows` (R,) int64 in the place of `rows` (R,) int64."""
        merged = {}
        for field in fields(self):
            values: Tensor = getattr(self, field.name).clone()
            values[rows] = getattr(other, field.name)[other_rows]
            merged[field.name] = values
        return ScoredRollouts(**merged)


def score_rollouts(
    trainer: Any, rows: Sequence[dict[str, Any]], prompts: Sequence[Any], ids: Sequence[list[int]], rewards: Tensor
) -> ScoredRollouts | None:
    """Gather what is known of the rollouts that TRL has just scored.

    Args:
        trainer: an `MCPOTrainer`.
        rows: B rows of the data set.
        prompts: B prompts.
        ids: B completions, as tokens.
        rewards: (N, F) of all ranks already; NaN where a function gave none.

    Returns:
        The rollouts of all ranks; None for an evaluation set without domains.
    """
    args, training = trainer.args, trainer.model.training
    if not training and any(args.domain_column not in row for row in rows):
        return None
    names = domains_of(rows, args)
    if not training or isinstance(trainer.train_dataset, IterableDataset):
        trainer.domains.include(gather_object(names))
    ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
    facts = [
        trainer.domains.numbers(names),
        [prompt_number(prompt) for prompt in prompts],
        [len(completion) for completion in ids],
        [int(not completion or completion[-1] not in ends) for completion in ids],
    ]
    domains, prompt_numbers, lengths, truncated = trainer.accelerator.gather(
        torch.tensor(facts, device=trainer.accelerator.device).T.contiguous()
    ).unbind(dim=1)
    weights = trainer.reward_weights.to(rewards.device)
    total = (rewards * weights).nansum(dim=1).masked_fill(torch.isnan(rewards).all(dim=1), math.nan)
    # Normalized one by one, equal sums can still hide unequal rewards.
    apart = getattr(trainer, "multi_objective_aggregation", None) == "normalize_then_sum"
    return ScoredRollouts(
        domains=domains,
        prompts=prompt_numbers,
        rewards=total,
        lengths=lengths,
        truncated=truncated.bool(),
        informative=informative_rollouts(
            rewards[:, weights != 0] if apart else total[:, None],
            trainer.num_generations if training else trainer.num_generations_eval,
        ),
    )


def informative_rollouts(rewards: Tensor, group_size: int) -> Tensor:
    """Return (N,) bool: whether the rewards (N, F) of a rollout's group differ, in any of the F columns.

    A reward that is NaN (nobody could score the rollout) differs from none.
    """
    unknown = torch.isnan(rewards)
    highest = rewards.masked_fill(unknown, -math.inf).view(-1, group_size, rewards.shape[1]).amax(dim=1)
    lowest = rewards.masked_fill(unknown, math.inf).view(-1, group_size, rewards.shape[1]).amin(dim=1)
    return (highest > lowest).any(dim=1).repeat_interleave(group_size)


def prompt_number(prompt: Any) -> int:
    """Return 63 bits that are the same for the same prompt on every rank and in every run."""
    text = json.dumps(prompt, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
