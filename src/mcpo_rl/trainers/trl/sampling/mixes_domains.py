"""The part of a trainer that draws the problems: exact shares of the domains, others for groups without signal.

Without a `mixture` it is TRL's own order, resumed where it stopped.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from mcpo_rl.rewards import VerifierReward
from mcpo_rl.trainers.trl.running.checkpoint import read_state
from mcpo_rl.trainers.trl.sampling.mixing import Mixing
from mcpo_rl.trainers.trl.sampling.resampling import GroupResampler


class MixesDomains:
    """Stands in front of one of TRL's trainers that roll out."""

    generated_names: ClassVar[tuple[str, ...]]
    """What TRL's `_generate` returns, in its order."""

    # Of TRL's trainer, and of those before.
    args: Any
    model: Any
    train_dataset: Any
    reward_funcs: Any
    _step: int
    _rows: list[dict[str, Any]]
    _tell_mixture: Any

    _train_sampler: Any = None
    _mixing: Mixing | None = None
    _resampler: GroupResampler | None = None

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        if self.args.mixture is None:
            self._train_sampler = super()._get_train_sampler(dataset)  # type: ignore[misc]
            return self._train_sampler
        self._mixing = mixing = Mixing(self.args, self.train_dataset, loaded=dataset)
        self._tell_mixture()
        self._resampler = GroupResampler(self, mixing) if mixing.rounds else None
        return mixing.sampler

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        done: tuple[int, int] = super()._init_training_state(max_steps, steps_per_epoch, epochs, checkpoint, trial)  # type: ignore[misc]
        epochs_trained, steps_trained = done
        if self._mixing is not None and checkpoint is not None:
            state = read_state(checkpoint, torch.device("cpu"))["mixture"]
            self._mixing.resume(state, items_passed_over=steps_trained, where=checkpoint)
            # TRL counts from 0 again. Counted on, it rolls out where the uninterrupted run would, also from a
            # checkpoint in the middle of a generation batch.
            self._step = epochs_trained * self._mixing.items_per_epoch + steps_trained
            return done
        # TRL's sampler draws a permutation per epoch from its own generator: pass over those of the epochs done.
        generator = getattr(self._train_sampler, "generator", None)
        for _ in range(epochs_trained if generator is not None else 0):
            torch.randperm(self._train_sampler.num_samples, generator=generator)
        return done

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        generated = self.roll_out(prompts, self._rows)
        if self._resampler is None or not self.model.training:
            return generated
        return self._resampler.complete(prompts, self._rows, generated)

    def roll_out(self, prompts: list[Any], rows: list[dict[str, Any]]) -> tuple[Any, ...]:
        """Generate, and have the completions judged from here on: TRL asks for rewards after the log-probabilities."""
        ahead = [reward for reward in self.reward_funcs if isinstance(reward, VerifierReward)]
        for reward in ahead:
            reward.warm_up()
        generated: tuple[Any, ...] = super()._generate(prompts)  # type: ignore[misc]
        columns = {key: [row[key] for row in rows] for key in rows[0]} if ahead else {}
        for reward in ahead:
            reward.begin(generated[self.generated_names.index("completions")], **columns)
        return generated
