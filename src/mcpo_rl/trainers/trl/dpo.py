"""`MCPODPOTrainer`: TRL's `DPOTrainer` with the contrastive term. The rollouts are not sampled but come as data.

A preference row is two rollouts of one prompt: the chosen completion is correct, the rejected one incorrect. The pool
is what one optimizer step sees, all its micro-batches on all ranks. Everything else is as for the trainers that roll
out: a pool phase, which leaves one weighted gradient for each rollout, and a policy phase, which adds <h_i, g_i> to
TRL's loss.

Axes: B preference rows of a micro-batch, which holds 2B rollouts (the chosen ones, then the rejected ones); T tokens of
prompt and completion, d features.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from datasets import IterableDataset
from torch import Tensor
from trl import DPOTrainer

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl import requirements
from mcpo_rl.trainers.trl.base import PAPER, ContrastiveTrainer
from mcpo_rl.trainers.trl.config import MCPODPOConfig
from mcpo_rl.trainers.trl.dpo_data import CHOSEN, PreferenceCollator, check_preferences, judged_rollouts
from mcpo_rl.trainers.trl.features.lines import TokenWeights
from mcpo_rl.trainers.trl.features.source import pooled_forward
from mcpo_rl.trainers.trl.phases.awaited import AwaitedPool
from mcpo_rl.trainers.trl.phases.pool import PoolOutcome
from mcpo_rl.trainers.trl.rollouts.domain_column import DomainIndex

_PART = "contrastive_part"
"""Where a micro-batch carries its `PoolPart`."""
_ROWS = "rows"
"""Where the `AwaitedPool`'s micro-batches carry the numbers of their rollouts."""


@dataclass(frozen=True)
class PoolPart:
    """What a micro-batch carries of its pool (no tensor itself: engines cast the floats of a batch)."""

    batch: dict[str, Any]
    """As `AwaitedPool` knows it."""
    awaited: AwaitedPool | None
    """Of the first micro-batch: the pool phase, which waits for its training pass."""

    def of_pool(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """As `ContrastivePart.pool`."""
        if self.awaited is not None:
            self.awaited.end(features)
        return self.batch["contrastive_grads"], self.batch["contrastive_loss"]


class MCPODPOTrainer(ContrastiveTrainer, DPOTrainer):  # type: ignore[misc]  # TRL publishes no types
    """Train a policy on preferences of several domains with DPO and the contrastive term.

    Takes `trl.DPOTrainer`'s arguments, with an `MCPODPOConfig` as `args` and a data set that names each row's domain in
    the column `args.domain_column`. All of TRL's loss types and ways to a reference model work as they do there. With
    `contrastive_coef=0` it is TRL's trainer bit for bit.

    The pool is one optimizer step's rows, so it grows with `gradient_accumulation_steps`, the micro-batch and the
    number of ranks; in a small one few rollouts find a partner in another domain.

    Args:
        model: as for `DPOTrainer`.
        ref_model: as for `DPOTrainer`.
        args: the configuration.
        data_collator: as for `DPOTrainer`.
        train_dataset: columns `prompt` (may be left out where TRL finds it), `chosen`, `rejected` and `domain`.
        *rest: further arguments of `DPOTrainer`, by position.
        **options: further arguments of `DPOTrainer`, by name.

    Raises:
        ConfigError: an option that cannot work.
        ProblemError: data without the needed columns, or domains.

    Example:
        >>> rows = Dataset.from_list([
        ...     {"prompt": "2+3=", "chosen": "5", "rejected": "6", "domain": "math"}, ...
        ... ])  # doctest: +SKIP
        >>> trainer = MCPODPOTrainer("Qwen/Qwen3-0.6B", args=MCPODPOConfig("run"), train_dataset=rows)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    _tag_names = ["trl", "dpo", "mcpo"]  # noqa: RUF012  # TRL's own attribute
    _name = "MCPO-DPO"
    _paper = PAPER

    # Of TRL's trainer.
    train_dataset: Any
    data_collator: Any

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: MCPODPOConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        *rest: Any,
        **options: Any,
    ) -> None:
        name = model if isinstance(model, str) else str(getattr(model.config, "_name_or_path", "")) or "model"
        args = args if args is not None else MCPODPOConfig(output_dir=f"{name.split('/')[-1]}-MCPO-DPO")
        requirements.check_arguments(args, MCPODPOConfig)
        _check_batches(args)
        self.domains = DomainIndex()
        if train_dataset is not None and args.contrastive_enabled and hasattr(train_dataset, "column_names"):
            self.domains = check_preferences(train_dataset, args)
        super().__init__(model, ref_model, args, data_collator, train_dataset, *rest, **options)
        self._weigh = TokenWeights(args.feature_pooling, self.processing_class)
        self._set_up_phases(correct_threshold=CHOSEN, pools_per_step=1.0)
        self._set_up_callbacks()

    # -- data ----------------------------------------------------------------------------------------------------------

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        for column in ("prompt", self.args.domain_column) if self.args.contrastive_enabled else ():
            if column not in self._signature_columns:
                self._signature_columns.append(column)

    def get_train_dataloader(self) -> Any:
        """Return TRL's data loader, with domains and prompts in its batches. Evaluation batches have none."""
        plain = self.data_collator
        if self._pool_phase is not None:
            self.data_collator = PreferenceCollator(plain, self.args)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain

    # -- pool phase ----------------------------------------------------------------------------------------------------

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Fetch the micro-batches of an optimizer step and begin their pool phase, which the first one's pass ends."""
        batches, items = super().get_batch_samples(*args, **kwargs)
        if self._pool_phase is not None and batches:
            self._begin_pool_phase(batches)
        return batches, items

    def _begin_pool_phase(self, batches: Sequence[MutableMapping[str, Any]]) -> None:
        streamed = isinstance(self.train_dataset, IterableDataset)
        rollouts = judged_rollouts(self.accelerator, batches, self.domains, streamed=streamed)
        on_device = [self._prepare_inputs(batch) for batch in batches]
        present = torch.cat([batch["completion_mask"].any(dim=1) for batch in on_device])

        def run(features: Tensor) -> PoolOutcome:
            assert self._pool_phase is not None
            outcome = self._pool_phase.run(features, present, rollouts, self.domains.names, self.state.global_step)
            self._log_metrics("train", outcome.metrics)
            return outcome

        ends = torch.tensor([len(batch["input_ids"]) for batch in batches]).cumsum(dim=0)
        rows = torch.arange(int(ends[-1]), device=present.device).tensor_split(ends[:-1])
        parts = [
            {**batch, _ROWS: its, "completion_mask": self._weigh(batch["input_ids"], batch["completion_mask"])}
            for batch, its in zip(on_device, rows, strict=True)
        ]
        read = partial(pooled_forward, self)
        awaited = AwaitedPool(parts[0], parts[1:], rows=_ROWS, read=read, run=run)
        for number, (batch, part) in enumerate(zip(batches, parts, strict=True)):
            batch[_PART] = PoolPart(part, awaited if number == 0 else None)

    # -- policy phase --------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: MutableMapping[str, Any], return_outputs: bool = False) -> Any:
        part: PoolPart | None = inputs.pop(_PART, None)  # TRL hands whatever it does not know on to the model
        if part is None:
            return super()._compute_loss(model, inputs, return_outputs)

        def policy_loss() -> Tensor:
            loss: Tensor = super(MCPODPOTrainer, self)._compute_loss(model, inputs, return_outputs)
            return loss

        mask = part.batch["completion_mask"]
        # Each row of the pool is in this optimizer step once.
        return self._with_contrastive_part(policy_loss, model, mask, part.of_pool, share=1.0)


def _check_batches(args: MCPODPOConfig) -> None:
    """Refuse what takes the rows of a batch apart."""
    if not args.contrastive_enabled:
        return
    if args.accelerator_config.dispatch_batches:
        raise ConfigError(
            "accelerator_config.dispatch_batches=True cannot be combined with the contrastive term: the main process "
            "would cut each batch into rows, chosen and rejected ones apart. Leave it out, or set contrastive_coef=0."
        )
    parallelism = args.parallelism_config
    if parallelism is not None and (parallelism.cp_enabled or parallelism.sp_enabled):
        raise ConfigError(
            "Context and sequence parallelism cannot be combined with the contrastive term: no rank holds a whole "
            "completion. Use FSDP or DeepSpeed ZeRO, or contrastive_coef=0."
        )
