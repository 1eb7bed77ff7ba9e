"""Recording a probe while training: how the policy sees the same rollouts at the start and at each checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mcpo_rl.errors import ConfigError
from mcpo_rl.runs.probe import ProbeDirectory, ProbeState
from mcpo_rl.trainers.trl.features.hidden_states import unwrapped
from mcpo_rl.trainers.trl.features.probe import ProbeTokens, context_of, states_of_trainer, tokenize


class ProbeCallback(TrainerCallback):  # type: ignore[misc]  # transformers' callbacks are untyped
    """Records the hidden states of a probe set at the start of training and at each checkpoint.

    It draws no random number and changes no weight: the run is the same with and without it. With several ranks, all of
    them take part and the main process writes.

    Args:
        directory: a probe that has its set (`mcpo_rl.evaluation.probing`); the main process reads and writes it.
        measure: called on the main process once the states of a step are written; what it returns is logged as metrics
            of that step (`mcpo_rl.analysis.geometry.record_geometry`).

    Example:
        ```python
        probe = ProbeDirectory("runs/mine/probe")
        probe.write_set(choose_probe_set(candidates_in("base.json"), per_domain=64))
        trainer = MCPOTrainer(..., callbacks=[ProbeCallback(probe, record_geometry)])
        ```
    """

    def __init__(
        self,
        directory: ProbeDirectory | str | Path,
        measure: Callable[[ProbeDirectory, int], dict[str, float]] | None = None,
    ) -> None:
        self.directory = directory if isinstance(directory, ProbeDirectory) else ProbeDirectory(directory)
        self._measure = measure
        self._trainer: Any = None
        self._tokens: ProbeTokens | None = None
        self._fingerprint = ""
        self._last = -1

    def bind(self, trainer: Any) -> None:
        """Tell whose policy it is; the trainer does this."""
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the model that training starts from; on resume drop what comes again.

        Raises:
            ConfigError: The trainer is not one of ours.
            RunError: The directory has no set, or it cannot be read.
            ProblemError: A rollout of the set does not fit into the model's context.
        """
        if self._trainer is None:
            raise ConfigError("ProbeCallback needs one of mcpo_rl's trainers, MCPOTrainer for instance.")
        # Read once, for all: another machine may not see what the main process has written.
        shared = [self.directory.read_set() if state.is_world_process_zero else None]
        if self._trainer.accelerator.num_processes > 1:
            broadcast_object_list(shared)
        rollouts = shared[0]
        assert rollouts is not None
        model = unwrapped(self._trainer.accelerator, self._trainer.model)
        self._tokens = tokenize(rollouts, self._trainer.processing_class, context_of(model))
        self._fingerprint = rollouts.fingerprint
        if state.is_world_process_zero:
            self.directory.forget_after(state.global_step)
        if state.global_step == 0:
            self._record(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Record the weights that the checkpoint holds.

        Raises:
            RunError: The states could not be written.
        """
        self._record(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the final weights, where no checkpoint was written of them.

        Raises:
            RunError: The states could not be written.
        """
        if state.global_step != self._last:
            self._record(state)

    def _record(self, state: TrainerState) -> None:
        assert self._tokens is not None
        trainer, step = self._trainer, state.global_step
        features = states_of_trainer(trainer, self._tokens)
        self._last = step
        if not state.is_world_process_zero:
            return
        self.directory.write_state(
            ProbeState(
                step=step,
                features=features,
                fingerprint=self._fingerprint,
                layer=trainer.args.feature_layer,
                pooling=trainer.args.feature_pooling,
            )
        )
        measured = self._measure(self.directory, step) if self._measure is not None else {}
        if measured:
            # Past TRL's own `log`, which would put the averages of the steps so far into this line.
            Trainer.log(trainer, measured)
