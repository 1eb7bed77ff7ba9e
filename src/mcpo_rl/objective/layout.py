"""An order of rollouts in which the rollouts of one prompt are found by slices.

Within a domain come the first rollouts of all its prompts, then the second ones of those that have a second, and so on;
the prompts with the most rollouts come first. So the r-th members of prompts are a slice, and prompt p stands at the
p-th place of each:

    prompts with 3, 2 and 1 rollouts:   a0 b0 c0 | a1 b1 | a2

Axes: C candidates, Q prompts, D domains.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Span(NamedTuple):
    """Some prompts of one domain."""

    parts: tuple[slice, ...]
    """The places of their first, second, ... members, in this order."""

    @property
    def counts(self) -> list[int]:
        """How many prompts have a first, a second, ... member: descending."""
        return [part.stop - part.start for part in self.parts]

    @property
    def size(self) -> int:
        """The number of rollouts."""
        return sum(self.counts)

    def blocks(self, size: int) -> Iterator[Span]:
        """Yield spans of whole prompts with at most `size` rollouts each (more where one prompt has more)."""
        counts = self.counts
        first = rollouts = 0
        for prompt in range(counts[0]):
            members = sum(prompt < count for count in counts)
            if prompt > first and rollouts + members > size:
                yield self._prompts(first, prompt)
                first, rollouts = prompt, 0
            rollouts += members
        yield self._prompts(first, counts[0])

    def _prompts(self, first: int, stop: int) -> Span:
        return Span(
            tuple(
                slice(part.start + first, min(part.start + stop, part.stop))
                for part in self.parts
                if part.start + first < part.stop
            )
        )


class Layout(NamedTuple):
    """The order, domain by domain."""

    order: Tensor
    """(C,) int64: which candidate stands at each place."""
    domains: list[Span]
    """The prompts of each domain, ascending."""
    shared_prompts: bool
    """A prompt has candidates in several domains; it counts as a prompt of its own in each."""

    @classmethod
    def of(cls, domains: Tensor, prompts: Tensor) -> Layout:
        """Order candidates.

        Args:
            domains: (C,) int64, C > 0.
            prompts: (C,) int64.
        """
        names, domain = torch.unique(domains, return_inverse=True)
        different, prompt = torch.unique(prompts, return_inverse=True)
        # Groups: the prompts of each domain, by domain; `group` (C,) is the one of each candidate.
        groups, group, sizes = torch.unique(domain * len(different) + prompt, return_inverse=True, return_counts=True)
        largest = int(sizes.max())
        member = _number_within(group, sizes)
        of_domain = groups.div(len(different), rounding_mode="floor")
        rank = _places((of_domain * (largest + 1) + largest - sizes).argsort(stable=True))
        slot = domain * largest + member
        order = (slot * len(groups) + rank[group]).argsort()
        counts = slot.bincount(minlength=len(names) * largest).tolist()
        spans, start = [], 0
        for first in range(0, len(counts), largest):
            parts = []
            for count in filter(None, counts[first : first + largest]):
                parts.append(slice(start, start + count))
                start += count
            spans.append(Span(tuple(parts)))
        return cls(order, spans, shared_prompts=len(groups) != len(different))


def _number_within(group: Tensor, sizes: Tensor) -> Tensor:
    """(C,): 0 for the first candidate of its group, 1 for the second, ..."""
    by_group = group.argsort(stable=True)
    return _places(by_group) - (sizes.cumsum(0) - sizes)[group]


def _places(order: Tensor) -> Tensor:
    """Invert a permutation: where each entry stands in `order`."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places
