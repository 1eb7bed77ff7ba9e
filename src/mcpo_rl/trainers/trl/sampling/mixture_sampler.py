"""The mixture as a sampler of PyTorch's data loader, in the layout that TRL's trainer expects.

Axes: P prompts of a generation batch, G rollouts per prompt. An *item* is what one micro-step takes from the loader:
the generation batch (its P * G rows over all ranks); R items in a row are the same batch, of which TRL rolls out the
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch.utils.data import Sampler


class Batches(Protocol):
    """The part of `mcpo_rl.data.mixture.DomainMixture` that a sampler needs."""

    def batch(self, n: int) -> list[int]:
        """Return the P row numbers of generation batch `n`."""

    def __len__(self) -> int:
        """Return the number of generation batches of an epoch."""


class MixtureSampler(Sampler[int]):
    """Yields row numbers as TRL's `RepeatSampler` lays them out: each prompt G times in a row, each batch R times.

    Every rank iterates over all rows and accelerate takes the rank's part of them. Each iteration is one epoch; the
    batches are numbered through from epoch to epoch.

    Args:
        mixture: says which rows are in generation batch n.
        prompts_per_batch: P.
        num_generations: G.
        repeats: R.

    Example:
        >>> class Pairs:
        ...     batch = staticmethod(lambda n: [2 * n, 2 * n + 1])
        ...     __len__ = lambda self: 2
        >>> list(MixtureSampler(Pairs(), prompts_per_batch=2, num_generations=2, repeats=1))
        [0, 0, 1, 1, 2, 2, 3, 3]
    """

    def __init__(self, mixture: Batches, *, prompts_per_batch: int, num_generations: int, repeats: int) -> None:
        self.mixture = mixture
        """What is asked for the batches; may be another one before the first is asked for."""
        self._prompts, self._generations, self._repeats = prompts_per_batch, num_generations, repeats
        self._first = 0  # number of the epoch's first batch
        self._passed_over = 0  # items at the epoch's beginning that the loader is going to pass over

    def resume(self, batch: int, *, passed_over: int) -> None:
        """Let the next epoch be the rest of one.

        Args:
            batch: number of the batch that the first item which is really loaded belongs to.
            passed_over: items that the data loader takes and drops before it.
        """
        self._passed_over = passed_over
        self._first = batch - passed_over // self._repeats

    def __iter__(self) -> Iterator[int]:
        first, passed_over = self._first, self._passed_over
        self._first, self._passed_over = first + len(self.mixture), 0
        rows_per_item = self._prompts * self._generations
        # A resumed loader drops them unread. Asking the mixture for them would ask for batches of the past, whose
        # outcomes an adaptive curriculum no longer holds.
        yield from (0 for _ in range(passed_over * rows_per_item))
        rows: list[int] = []
        for item in range(passed_over, len(self.mixture) * self._repeats):
            if not rows or item % self._repeats == 0:
                rows = self.mixture.batch(first + item // self._repeats)
            for row in rows:
                for _ in range(self._generations):
                    yield row

    def __len__(self) -> int:
        return len(self.mixture) * self._repeats * self._prompts * self._generations


def batches_drawn_ahead(*, repeats: int, accumulation: int, workers: int, prefetch_factor: int | None) -> int:
    """Return how many generation batches the loader may have drawn when one has been scored (an upper bound, >= 0).

    transformers takes the items of a whole optimizer step before its first micro-step, accelerate looks one item
    further, and every worker is handed `prefetch_factor` items beyond that.

    Args:
        repeats: R.
        accumulation: items of an optimizer step.
        workers: `dataloader_num_workers`.
        prefetch_factor: `dataloader_prefetch_factor`; None is PyTorch's 2.
    """
    waiting = workers * (2 if prefetch_factor is None else prefetch_factor)
    return (accumulation + waiting) // repeats
