"""The mixin for TRL's trainers that roll out (GRPO, RLOO): the contrastive term, by overridden methods and hooks only.

A training step goes through TRL's own code. What is added:

- the order of the problems, where `mixture` asks for one, and other problems in the place of those whose rollouts carry
  no signal (`sampling/`);
- while TRL computes log-probabilities: the completions are judged (`mcpo_rl.rewards`);
- after the rollouts were scored: the pool phase (`phases/pool.py`), which leaves one weighted gradient per rollout in
  the batch;
- in each micro-batch: <h_i, g_i> on top of TRL's loss, so that the parameters' gradient is that of L_policy + w * L;
- every few steps: how the domains' policy gradients lie to each other (`interference/`);
- per-domain metrics, checkpoints that are whole or absent and resume exactly, and rollouts for observers.

Axes: B rollouts of this rank, T tokens of prompt and completion, C tokens of the completion, d features, N rollouts of
all ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from mcpo_rl.models.lm_head import keep_rows_contiguous
from mcpo_rl.runs import RolloutBatch
from mcpo_rl.trainers.trl import requirements
from mcpo_rl.trainers.trl.base import ContrastiveTrainer
from mcpo_rl.trainers.trl.features.source import FeatureReader, completion_mask
from mcpo_rl.trainers.trl.interference.heldout import WatchesForgetting
from mcpo_rl.trainers.trl.interference.measuring import MeasuresInterference
from mcpo_rl.trainers.trl.phases.awaited import AwaitedPool
from mcpo_rl.trainers.trl.phases.pool import PoolOutcome, gather_pool
from mcpo_rl.trainers.trl.rollouts.advantages import give_contrastive_advantages
from mcpo_rl.trainers.trl.rollouts.domain_column import DomainIndex, check_dataset
from mcpo_rl.trainers.trl.rollouts.domain_metrics import domain_metrics
from mcpo_rl.trainers.trl.rollouts.rollout_log import is_due, rollout_batch
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts, score_rollouts
from mcpo_rl.trainers.trl.running.trackers import rollout_trackers
from mcpo_rl.trainers.trl.sampling.mixes_domains import MixesDomains
from mcpo_rl.trainers.trl.sampling.mixing import check_mixture, check_resampling, check_same_order
from mcpo_rl.trainers.trl.sampling.resampling import Resampled

_ROWS = "contrastive_rows"
"""Where a micro-batch carries the numbers of its rollouts, in the order in which they were scored."""


class OnlineContrastive(ContrastiveTrainer, MeasuresInterference, WatchesForgetting, MixesDomains):
    """MCPO for a trainer of TRL's that generates, scores and trains on rollouts; stands in front of it.

    Where one generation batch feeds several optimizer steps (`steps_per_generation` above
    `gradient_accumulation_steps`, or `num_iterations` above 1), the gradients from the pool phase are exact at the
    first of them and grow stale after it, as the rollouts do; `refresh_contrastive_grads=True` computes them anew
    before each.

    What differs between TRL's trainers is said by the class attributes.
    """

    configuration: ClassVar[type]
    """The class of `args`."""
    old_log_probs_name: ClassVar[str]
    """The key of the old log-probabilities in the batch that `_generate_and_score_completions` returns."""
    old_log_probs_always: ClassVar[bool]
    """Whether they are computed for every generation batch, whatever the configuration."""

    # Of TRL's trainers.
    train_dataset: Any
    processing_class: Any
    reward_funcs: Any
    num_iterations: int
    _signature_columns: Any
    _buffered_inputs: Any
    _logs: Any
    _step: int

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        *rest: Any,
        **options: Any,
    ) -> None:
        name = model if isinstance(model, str) else str(getattr(model.config, "_name_or_path", "")) or "model"
        args = args if args is not None else self.configuration(output_dir=f"{name.split('/')[-1]}-MCPO")
        requirements.check_arguments(args, self.configuration)
        self.domains = DomainIndex()
        if train_dataset is not None and hasattr(train_dataset, "column_names"):
            environment = options.get("environment_factory") is not None
            self.domains = check_dataset(train_dataset, args, prompt_needed=not environment)
        check_mixture(args, train_dataset)
        self.rollout_observers: list[Callable[[RolloutBatch], None]] = []
        """Called on the main process with the rollouts of a step, every `log_rollouts_steps` steps."""
        self._rows: list[dict[str, Any]] = []
        self._scored: ScoredRollouts | None = None
        self._pool_scored: ScoredRollouts | None = None
        self._pool_present = torch.ones(0, dtype=torch.bool)
        self._pool_observed = self._pool_waits = False
        self._awaited: AwaitedPool | None = None
        self._resampled: Resampled | None = None
        self._last_observed_step = -1
        super().__init__(model, reward_funcs, args, train_dataset, *rest, **options)  # type: ignore[call-arg]
        keep_rows_contiguous(self.model)
        if args.resample_rounds:
            check_resampling(self)
        requirements.check_chat_template(train_dataset, self.processing_class, name)
        self._set_up_phases(
            correct_threshold=args.correct_threshold,
            pools_per_step=args.gradient_accumulation_steps / args.steps_per_generation,
        )
        self._features = FeatureReader(self)
        self._set_up_interference()
        self._set_up_callbacks()
        self.rollout_observers += rollout_trackers(self)

    @property
    def feature_source_in_use(self) -> str | None:
        """Where hidden states are read from (see `feature_source`); None before the first generation batch."""
        return self._features.source_in_use

    # -- data ----------------------------------------------------------------------------------------------------------

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        # With remove_unused_columns=True, the domain and what verifiers need must still reach us and them.
        for column in (self.args.domain_column, "reference"):
            if column not in self._signature_columns:
                self._signature_columns.append(column)

    # -- pool phase ----------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._rows, self._resampled, self._scored = inputs, None, None
        mode = "train" if self.model.training else "eval"
        observe = mode == "train" and self._observation_is_due()
        if mode == "eval" or not (self._pool_phase or observe):
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
            self._log_domains(mode)
            return batch
        with self._features.reading(forward_only=self._pool_phase is None):
            batch = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        self._check_hooks_were_called()
        self._log_domains(mode)
        present = completion_mask(batch).any(dim=1)
        if self._pool_phase is None:
            self._notify_observers(self._features.forward(batch), present, None)
            return batch
        features = self._features.features(batch)
        self._pool_scored, self._pool_present, self._pool_observed = self._scored, present, observe
        self._pool_waits = features is None
        # What follows, TRL shuffles and splits along with the batch; the loss has no rows and is handed on as it is.
        batch[_ROWS] = torch.arange(len(present), device=present.device)
        if features is not None:
            outcome = self._run_pool_phase(features)
            batch["contrastive_grads"], batch["contrastive_loss"] = outcome.gradients, outcome.weighted_loss
            if self.args.gives_contrastive_advantages:
                assert self._scored is not None
                self._log_metrics("train", give_contrastive_advantages(self, batch, outcome.pool, self._scored))
        return batch

    def _check_hooks_were_called(self) -> None:
        """Refuse to go on where TRL passed one of our methods by: the run would not be the one that was asked for."""
        for missing, method in (
            (self._scored is None, "_calculate_rewards"),
            (self.args.mixture is not None and self._mixing is None, "_get_train_sampler"),
            (self._resampler is not None and self._resampled is None, "_generate"),
        ):
            if missing:
                raise RuntimeError(
                    f"TRL did not call `{method}`, which {type(self).__name__} adds its part in: this version of it "
                    "works in another way. Install a version of TRL in the range that mcpo-rl supports (mcpo-rl "
                    "doctor says which)."
                )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        inputs = super()._prepare_inputs(generation_batch)  # type: ignore[misc]
        if self.model.training and (self._pool_waits or self._contrastive_grads_are_stale()):
            others = [batch for batch in self._buffered_inputs if batch is not inputs]
            self._awaited = AwaitedPool(
                inputs, others, rows=_ROWS, read=self._features.forward_together, run=self._run_pool_phase
            )
            self._pool_waits = False
        return inputs

    def _contrastive_grads_are_stale(self) -> bool:
        """Whether an optimizer step begins that is not the first one on these rollouts, and is to have new ones."""
        if self._pool_phase is None or not self.args.refresh_contrastive_grads:
            return False
        return self._optimizer_step_begins and not self._at_generation_boundary()

    def _run_pool_phase(self, features: Tensor) -> PoolOutcome:
        """Run the pool phase of the generation batch: `features` (B, d) in the order in which they were scored."""
        assert self._pool_phase is not None and self._pool_scored is not None
        outcome = self._pool_phase.run(
            features, self._pool_present, self._pool_scored, self.domains.names, self.state.global_step
        )
        self._log_metrics("train", outcome.metrics)
        if self._pool_observed:
            self._notify_observers(features, self._pool_present, outcome)
            self._pool_observed = False
        return outcome

    def _notify_observers(self, features: Tensor, present: Tensor, outcome: PoolOutcome | None) -> None:
        assert self._scored is not None
        self._last_observed_step = self.state.global_step
        if outcome is not None:
            pool = outcome.pool
        else:
            pool, _ = gather_pool(self.accelerator, features, present, self._scored, self.args.correct_threshold)
        if not self.accelerator.is_main_process:
            return
        rollouts = rollout_batch(
            step=self.state.global_step,
            logs=self._logs,
            rollouts=self._scored,
            domain_names=self.domains.names,
            pool=pool,
            contrastive=None if outcome is None else outcome.step,
        )
        for observer in self.rollout_observers:
            observer(rollouts)

    def _observation_is_due(self) -> bool:
        steps_per_batch = self._micro_steps_per_batch // self.args.gradient_accumulation_steps
        step = self.state.global_step
        due = is_due(step, self.args.log_rollouts_steps, max(1, steps_per_batch))
        return due and step != self._last_observed_step

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        with self._features.during_generation() as tap:
            generated = super()._generate_single_turn(prompt_ids, *args, **kwargs)  # type: ignore[misc]
            if tap is not None:
                # GRPO returns the log-probabilities of the completions beside them.
                self._features.keep_generated(tap, generated[0] if isinstance(generated, tuple) else generated)
        return generated

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        with self._features.during_log_probs(model, input_ids, attention_mask, logits_to_keep):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )

    # -- scores --------------------------------------------------------------------------------------------------------

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        if self._resampled is not None:
            self._scored = self._resampled.scored
            return self._resampled.rewards_of(prompts, inputs)
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        self._scored = score_rollouts(self, inputs, prompts, completion_ids_list, rewards)
        return rewards

    def _log_domains(self, mode: str) -> None:
        if self._scored is None:
            return
        self._log_metrics(mode, domain_metrics(self._scored, self.domains.names, self.args.correct_threshold))
        if mode == "train" and self._mixing is not None:
            self._log_metrics(mode, self._mixing.observe(self._scored, self._resampled, self.domains.names))

    # -- policy phase --------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if _ROWS not in inputs:
            plain: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
            return plain
        # The pool's rollouts come in steps_per_generation micro-batches; an optimizer step sees some of them.
        share = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        compute: Callable[[Any, dict[str, Any]], Tensor] = super()._compute_loss  # type: ignore[misc]
        awaited, self._awaited = self._awaited, None

        def pool(features: Tensor) -> tuple[Tensor, Tensor]:
            if awaited is not None:
                awaited.end(features)
            self._measure_term(features, inputs["contrastive_grads"])
            return inputs["contrastive_grads"], inputs["contrastive_loss"]

        mask = self._features.token_weights(inputs)
        return self._with_contrastive_part(lambda: compute(model, inputs), model, mask, pool, share)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    @property
    def _micro_steps_per_batch(self) -> int:
        return int(self.args.steps_per_generation * self.num_iterations)

    def _at_generation_boundary(self) -> bool:
        return bool(self._step % self._micro_steps_per_batch == 0)

    def _own_state(self) -> dict[str, Any]:
        mixture = None if self._mixing is None else self._mixing.state(self._step)
        return {**super()._own_state(), "mixture": mixture, "forgetting": self._forgetting_state()}

    def _load_own_state(self, state: dict[str, Any], where: str) -> None:
        super()._load_own_state(state, where)
        self._load_forgetting_state(state.get("forgetting"))

    def _check_own_state(self, state: dict[str, Any], where: str) -> None:
        super()._check_own_state(state, where)
        check_same_order(state, self.args, where)
