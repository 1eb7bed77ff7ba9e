"""Where the seconds of an optimizer step go: a trainer's methods are wrapped, and what they do stays as it is."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PHASES = ("generate", "verify", "old_logps", "features", "pool", "policy", "optimizer", "other")
"""`generate`: decoding and its text. `verify`: the reward functions. `old_logps`: log-probabilities without gradient.
`features`: what the hidden states of the pool cost after decoding, the extra forward pass where there is one. `pool`:
gathering, the contrastive loss and its gradients, the head's update. `policy`: forward and backward passes of the
training. `optimizer`: clipping and update. `other`: the rest, such as loading rows, metrics and shuffling."""


class PhaseClock:
    """Splits a stretch of time into phases that add up to it: a phase inside another one interrupts that one.

    Args:
        synchronize: waits for the device; called before each reading of the time.
        now: the seconds on the clock.

    Example:
        >>> clock = PhaseClock()
        >>> clock.start()
        >>> with clock.phase("policy"), clock.phase("pool"):
        ...     pass
        >>> sorted(clock.stop()) == sorted(PHASES)
        True
    """

    def __init__(
        self, synchronize: Callable[[], None] = lambda: None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._synchronize, self._now = synchronize, now
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._open = ["other"]
        self._since = 0.0

    def start(self) -> None:
        """Begin anew."""
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._synchronize()
        self._since = self._now()

    def stop(self) -> dict[str, float]:
        """Return the seconds of each phase since `start`."""
        self._charge()
        return dict(self._seconds)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the time inside to `name`, one of `PHASES`."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def wrap(self, owner: Any, method: str, name: str, when: Callable[[], bool] = lambda: True) -> None:
        """Charge the calls of `owner.method` to `name`, those at which `when` holds.

        Raises:
            AttributeError: there is no such method: the engine has changed, and the phases would be wrong.
        """
        original = getattr(owner, method)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not when():
                return original(*args, **kwargs)
            with self.phase(name):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def _charge(self) -> None:
        self._synchronize()
        now = self._now()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now


def clock_trainer(trainer: Any, clock: PhaseClock) -> None:
    """Let `clock` follow a `GRPOTrainer` or `MCPOTrainer`; its optimizer with `clock_optimizer`, once it is there."""
    import torch

    clock.wrap(trainer, "_generate", "generate")
    clock.wrap(trainer, "_calculate_rewards", "verify")
    no_gradient = lambda: not torch.is_grad_enabled()  # noqa: E731  # with one, it is the training's own pass
    clock.wrap(trainer, "_get_per_token_logps_and_entropies", "old_logps", no_gradient)
    clock.wrap(trainer, "compute_loss", "policy")
    clock.wrap(trainer.accelerator, "backward", "policy")
    clock.wrap(trainer, "_clip_grad_norm", "optimizer")
    if hasattr(trainer, "feature_source_in_use"):
        clock.wrap(trainer, "_run_pool_phase", "pool")
        clock.wrap(trainer._features, "features", "features")
        clock.wrap(trainer._features, "keep_generated", "features")
        clock.wrap(trainer._features, "forward_together", "features")


def clock_optimizer(trainer: Any, clock: PhaseClock) -> None:
    """Charge the update of the weights; to be called when training begins, which makes the optimizer."""
    clock.wrap(trainer.optimizer, "step", "optimizer")
