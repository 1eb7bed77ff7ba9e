"""What every trainer of ours has beside TRL's: the policy phase's bookkeeping, and checkpoints that resume exactly.

To stand in front of one of TRL's trainers: `class MCPOTrainer(OnlineContrastive, GRPOTrainer)`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_utils import rotate_checkpoints

from mcpo_rl.errors import CheckpointError, ConfigError
from mcpo_rl.trainers.trl import requirements
from mcpo_rl.trainers.trl.features.hidden_states import feature_width, find_feature_module, unwrapped
from mcpo_rl.trainers.trl.phases.nonfinite import check_policy_gradient
from mcpo_rl.trainers.trl.phases.policy import ContrastivePart, PolicyPhase
from mcpo_rl.trainers.trl.phases.pool import PoolPhase
from mcpo_rl.trainers.trl.running.callbacks import GenerationAlignment, InterruptCallback
from mcpo_rl.trainers.trl.running.checkpoint import (
    find_last_complete_checkpoint,
    read_state,
    whole_or_absent,
    write_state,
)
from mcpo_rl.trainers.trl.running.launch import check_launch, launch_facts
from mcpo_rl.trainers.trl.running.probing import ProbeCallback
from mcpo_rl.trainers.trl.running.progress import ProgressCallback

PAPER = {
    "title": "Harmony in Diversity: Multi-domain Contrastive Policy Optimization for Large Reasoning Models",
    "id": "2605.25443",
}


class ContrastiveTrainer:
    """The part that does not depend on where the rollouts come from.

    The methods below that TRL has too call `super()`, which is TRL's trainer behind this class.
    """

    # Of TRL's trainer.
    args: Any
    accelerator: Any
    model: Any
    state: Any
    control: Any
    callback_handler: Any
    current_gradient_accumulation_steps: int
    loss_is_scaled_for_ga: bool | None
    _metrics: Any

    add_callback: Callable[[Any], None]
    remove_callback: Callable[[Any], None]
    _get_output_dir: Callable[..., str]

    _pool_phase: PoolPhase | None = None
    _policy_phase: PolicyPhase | None = None
    _optimizer_step_begins = True
    """Whether the next micro-batch is the first of an optimizer step."""

    def _set_up_phases(self, *, correct_threshold: float, pools_per_step: float) -> None:
        """Make both phases, where the contrastive term takes part; called at the end of construction."""
        if not self.args.contrastive_enabled:
            return
        requirements.check_trainer(self)
        width = feature_width(self.model, self.args.feature_layer)
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        self._pool_phase = PoolPhase(
            self.args,
            self.accelerator,
            width,
            dtype,
            correct_threshold=correct_threshold,
            pools_per_step=pools_per_step,
        )
        self._policy_phase = PolicyPhase(self.accelerator, self.args.feature_pooling)

    def _log_metrics(self, mode: str, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics[mode][name].append(value)

    # -- policy phase --------------------------------------------------------------------------------------------------

    def _with_contrastive_part(
        self,
        policy_loss: Callable[[], Tensor],
        model: Any,
        mask: Tensor,
        pool: Callable[[Tensor], tuple[Tensor, Tensor]],
        share: float,
    ) -> Tensor:
        """Return TRL's loss of a micro-batch with its part of the contrastive loss.

        Args:
            policy_loss: computes TRL's loss.
            model: as TRL hands it to its loss.
            mask: (B, C), from `TokenWeights`: the tokens that count; the last C of each row.
            pool: as in `ContrastivePart`.
            share: as in `ContrastivePart`.
        """
        assert self._policy_phase is not None
        part = ContrastivePart(
            pool=pool,
            share=share,
            accumulation=self.current_gradient_accumulation_steps,
            scaled=bool(self.loss_is_scaled_for_ga),
        )
        module = find_feature_module(unwrapped(self.accelerator, model), self.args.feature_layer)
        return self._policy_phase.loss(policy_loss, module, mask, part)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run TRL's training step; at the end of an optimizer step, read the gradient norms that it measured."""
        if self._pool_phase is None or self._policy_phase is None:
            plain: Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
            return plain
        self._policy_phase.begin_micro_step()
        loss: Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self._policy_phase.end_micro_step()
        self._optimizer_step_begins = bool(self.accelerator.sync_gradients)
        if self.accelerator.sync_gradients:
            policy, contrastive = self._policy_phase.read_norms()
            self._pool_phase.strength.observe(policy)
            self._log_metrics("train", {"contrastive/policy_grad_norm": policy, "contrastive/grad_norm": contrastive})
            scaled = getattr(self.accelerator, "scaler", None) is not None
            check_policy_gradient(policy, global_step=self.state.global_step, scaled=scaled)
            if policy > 0:
                self._log_metrics("train", {"contrastive/grad_ratio": contrastive / policy})
        return loss

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _at_generation_boundary(self) -> bool:
        """Whether the next micro-step draws new rollouts: a checkpoint there loses none."""
        return True

    def _own_state(self) -> dict[str, Any]:
        """Return what the state file of a checkpoint keeps."""
        contrastive = None if self._pool_phase is None else self._pool_phase.state_dict()
        return {"step": self.state.global_step, "contrastive": contrastive, "launch": launch_facts(self)}

    def _check_own_state(self, state: dict[str, Any], where: str) -> None:
        """Refuse to resume from a state file that does not fit, before anything is loaded."""
        check_launch(state.get("launch"), self, where)

    def _load_own_state(self, state: dict[str, Any], where: str) -> None:
        """Go on from a state file's head and strength.

        Raises:
            CheckpointError: there are none, or the head has other widths.
        """
        if self._pool_phase is None:
            return
        if state["contrastive"] is None:
            raise CheckpointError(
                f"{where} was written with contrastive_coef=0: it has no contrastive head to continue with. "
                "Resume with contrastive_coef=0, or start a new run with the checkpoint as the model."
            )
        try:
            self._pool_phase.load_state_dict(state["contrastive"])
        except ConfigError as error:
            raise CheckpointError(
                f"{where} does not fit this configuration: {error} (head_dim and head_hidden_dim of MCPOConfig)"
            ) from error

    def _set_up_callbacks(self) -> None:
        callbacks = self.callback_handler.callbacks
        if any(isinstance(callback, ProgressCallback) for callback in callbacks):
            # transformers' own bar or printer, whichever `disable_tqdm` chose
            for callback in [*callbacks]:
                if type(callback).__module__.startswith("transformers.") and type(callback).__name__ in _OWN_PROGRESS:
                    self.remove_callback(callback)
        for callback in callbacks:
            if isinstance(callback, InterruptCallback):
                callback.bind(self._at_generation_boundary)
        self.add_callback(GenerationAlignment(self._at_generation_boundary))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train; `resume_from_checkpoint=True` continues from the last complete checkpoint in `output_dir`.

        Raises:
            CheckpointError: there is none, it is incomplete, it does not fit, or one could not be written.
        """
        if resume_from_checkpoint is True:
            last = find_last_complete_checkpoint(self.args.output_dir)
            if last is None:
                raise CheckpointError(f"There is no complete checkpoint in {self.args.output_dir} to resume from.")
            resume_from_checkpoint = str(last)
        if resume_from_checkpoint:
            # Before the engine loads anything: what does not fit is refused in time.
            state = read_state(resume_from_checkpoint, torch.device("cpu"))
            self._check_own_state(state, str(resume_from_checkpoint))
            self._load_own_state(state, str(resume_from_checkpoint))
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ProbeCallback):
                callback.bind(self)
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]
        finally:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, InterruptCallback):
                    callback.restore()
                elif isinstance(callback, ProgressCallback):
                    callback.close()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            # Resumed where there is nothing left to do: transformers would take one more step before it looks.
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run_directory = Path(self._get_output_dir(trial=trial))
        checkpoint = run_directory / f"checkpoint-{self.state.global_step}"
        # Older checkpoints go only after this one is complete, so transformers must not do it by itself.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with whole_or_absent(checkpoint, owner=self.args.should_save):
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
                self.accelerator.wait_for_everyone()  # every rank has written its part
                if self.args.should_save:
                    write_state(checkpoint, self._own_state())
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            rotate_checkpoints(
                output_dir=str(run_directory), save_total_limit=limit, best_model_checkpoint=best, use_mtime=True
            )


_OWN_PROGRESS = {"ProgressCallback", "NotebookProgressCallback", "PrinterCallback"}
