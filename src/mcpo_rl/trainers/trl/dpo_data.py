"""Preference rows as rollouts of a pool: chosen completions are correct, rejected ones incorrect.

Axes: B preference rows of a micro-batch, which holds 2B rollouts (the chosen ones, then the rejected ones); N rollouts
of an optimizer step, of all micro-batches and ranks.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import IterableDataset

from mcpo_rl.errors import ProblemError, nearest
from mcpo_rl.trainers.trl.arguments import ContrastiveArguments
from mcpo_rl.trainers.trl.rollouts.domain_column import DomainIndex, domains_of, index_domains
from mcpo_rl.trainers.trl.rollouts.scoring import JudgedRollouts, prompt_number

DOMAINS, PROMPTS = "rollout_domains", "rollout_prompts"
"""What `PreferenceCollator` adds to a batch."""

CHOSEN, REJECTED = 1.0, 0.0
"""Rewards that stand for being chosen and rejected."""


@dataclass(frozen=True)
class PreferenceCollator:
    """The trainer's own collator; its batches also say which domain and which prompt each rollout is of.

    Adds `rollout_domains` (2B names) and `rollout_prompts` (2B,) int64.
    """

    collator: Any
    """TRL's, or the one that was given to the trainer."""
    args: ContrastiveArguments
    """Names the domain column and the known domains."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> MutableMapping[str, Any]:
        """Collate; any refusal of a domain is a `ProblemError`."""
        names = domains_of(rows, self.args)
        numbers = [prompt_number(row["prompt"]) for row in rows]
        batch: MutableMapping[str, Any] = self.collator(rows)
        batch[DOMAINS], batch[PROMPTS] = names + names, torch.tensor(numbers + numbers)
        return batch


def judged_rollouts(
    accelerator: Accelerator, batches: Sequence[MutableMapping[str, Any]], domains: DomainIndex, *, streamed: bool
) -> JudgedRollouts:
    """Take what `PreferenceCollator` added out of this rank's batches, and return it for all ranks.

    Args:
        accelerator: of the trainer.
        batches: the micro-batches of one optimizer step.
        domains: gives the names their numbers.
        streamed: whether names may turn up that `domains` does not know yet.

    Raises:
        RuntimeError: they did not go through `PreferenceCollator`.
    """
    if any(DOMAINS not in batch for batch in batches):
        raise RuntimeError(
            "The training batches do not say of which domains their rows are. This version of transformers makes its "
            "data loader in another way (or a subclass does); contrastive_coef=0 trains without the contrastive term."
        )
    names = [name for batch in batches for name in batch.pop(DOMAINS)]
    prompts = torch.cat([batch.pop(PROMPTS) for batch in batches]).to(accelerator.device)
    halves = [len(batch["input_ids"]) // 2 for batch in batches]
    rewards = torch.cat([torch.tensor([CHOSEN, REJECTED]).repeat_interleave(half) for half in halves])
    if streamed:
        domains.include(gather_object(names))
    numbers = torch.tensor(domains.numbers(names), device=accelerator.device)
    return JudgedRollouts(
        domains=accelerator.gather(numbers),
        prompts=accelerator.gather(prompts),
        rewards=accelerator.gather(rewards.to(accelerator.device)),
    )


def check_preferences(dataset: Any, args: ContrastiveArguments) -> DomainIndex:
    """Check the training data and return its domains (for a streaming data set: none yet).

    Raises:
        ProblemError: a column is missing, there is no row, or a row names no domain.
        UnknownDomainError: a row's domain is not one of `known_domains`.
    """
    columns = dataset.column_names
    for column in ("chosen", "rejected", args.domain_column) if columns is not None else ():
        if column not in columns:
            raise ProblemError(
                f"The training data has no column {column!r}; it has {', '.join(sorted(columns))}. Preference rows "
                f"hold `prompt`, `chosen`, `rejected` and, as {args.domain_column!r}, the name of the domain ('math', "
                f"'code', ...).{nearest(column, columns)}"
            )
    if isinstance(dataset, IterableDataset):
        return DomainIndex()
    if len(dataset) == 0:
        raise ProblemError("The training data is empty: there is not a single preference row.")
    return index_domains(dataset, args, plain="plain DPO")
