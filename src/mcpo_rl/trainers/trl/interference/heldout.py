"""The part of a trainer that watches held-out accuracy while it trains: which domains fall below their best."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from mcpo_rl.scores.forgetting import ForgettingWatch, Standing

logger = logging.getLogger(__name__)


class WatchesForgetting:
    """Stands in front of one of TRL's trainers that roll out; works wherever they evaluate during training.

    `eval_strategy="steps"` and an evaluation set with a domain column are all it needs; `eval_on_start=True` lets the
    model of before training count as a best too.
    """

    # Of TRL's trainer, and of those before.
    args: Any
    accelerator: Any
    model: Any
    state: Any
    domains: Any
    log: Callable[[dict[str, float]], None]
    _scored: Any
    _mixing: Any

    _forgetting: ForgettingWatch | None = None
    _heldout: dict[str, dict[str, list[float]]] | None = None
    """Rewards of each domain's problems, by problem; None outside of an evaluation."""
    _fallen: frozenset[str] = frozenset()
    """Domains with an alarm at their latest evaluation."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self._heldout is not None and not self.model.training and self._scored is not None:
            scored, names = self._scored, self.domains.names
            rows = zip(scored.domains.tolist(), scored.prompts.tolist(), scored.rewards.tolist(), strict=True)
            for domain, prompt, reward in rows:
                if not math.isnan(reward):
                    self._heldout.setdefault(names[domain], {}).setdefault(str(prompt), []).append(reward)
        return batch

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate; then log how far each domain is below its best, and warn where that is more than chance."""
        outer, self._heldout = self._heldout, {}
        try:
            metrics: dict[str, float] = super().evaluate(*args, **kwargs)  # type: ignore[misc]
            heldout = self._heldout
        finally:
            self._heldout = outer  # of several evaluation sets each is evaluated by a call of its own
        if heldout:
            self._watch(heldout)
        return metrics

    def _watch(self, heldout: dict[str, dict[str, list[float]]]) -> None:
        """Compare with the best evaluation; the same on every rank, as the rollouts of all ranks are known to each."""
        if self._forgetting is None:
            self._forgetting = ForgettingWatch()
        threshold = self.args.correct_threshold
        rates = {
            name: {key: sum(reward >= threshold for reward in rewards) / len(rewards) for key, rewards in own.items()}
            for name, own in heldout.items()
        }
        standings = self._forgetting.observe(self.state.global_step, rates)
        alarmed = {name for name, one in standings.items() if one.alarm}
        self._fallen = (self._fallen - standings.keys()) | alarmed
        self._tell_mixture()
        metrics = {f"forgetting/{name}": one.below for name, one in standings.items()}
        self.log({**metrics, **{f"forgetting_alarm/{name}": float(one.alarm) for name, one in standings.items()}})
        if self.accelerator.is_main_process:
            for name in sorted(alarmed):
                logger.warning("%s", alarm_message(name, standings[name], self.state.global_step))

    def _tell_mixture(self) -> None:
        if self._mixing is not None:
            self._mixing.fallen = self._fallen

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _forgetting_state(self) -> dict[str, Any] | None:
        if self._forgetting is None:
            return None
        return {**self._forgetting.state_dict(), "fallen": sorted(self._fallen)}

    def _load_forgetting_state(self, state: dict[str, Any] | None) -> None:
        """Go on from `_forgetting_state`'s value; checkpoints without one begin anew."""
        self._forgetting, self._fallen = None, frozenset()
        if state is not None:
            self._forgetting = ForgettingWatch()
            self._forgetting.load_state_dict(state)
            self._fallen = frozenset(state.get("fallen", ()))


def alarm_message(domain: str, standing: Standing, step: int) -> str:
    """Return the warning of one domain."""
    return (
        f"Step {step}: the held-out accuracy of {domain} is {standing.accuracy:.3f}, {standing.below:.3f} below its "
        f"best ({standing.best:.3f} at step {standing.best_step}), which is more than chance explains (p = "
        f"{standing.p_value:.2g}). It is being forgotten: look at interference/cosine with {domain}, give {domain} a "
        "larger share (`mixture.curriculum: forgetting` does so by itself), or go back to the checkpoint of that step."
    )
