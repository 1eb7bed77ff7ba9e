"""One micro-batch's training forward pass, cut into domains and cut off from the loss.

Axes: B rollouts, C tokens of the completion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The rows of one domain."""

    domain: int
    rows: Tensor
    """(R,) int64, places in the micro-batch."""
    outputs: list[Tensor]
    """(R, C) each, with their graph down to the parameters: log-probabilities and, where trained on, entropies."""


class SplitPass:
    """Runs TRL's forward pass for each domain's rows; the loss sees the whole, as leaves of its own graph.

    Args:
        domains: (B,) int64, of each row.
    """

    def __init__(self, domains: Tensor) -> None:
        self._domains = domains
        self._parts: list[_Part] = []
        self._leaves: list[Tensor] = []
        self.expected = False
        """Whether the training forward pass is still to come."""

    @contextmanager
    def expecting_one_pass(self) -> Iterator[None]:
        """Take the block's first forward pass with gradients for that of training.

        Raises:
            RuntimeError: there was none: this version of TRL computes its loss in another way.
        """
        self.expected = True
        yield
        if self.expected:
            raise RuntimeError(
                "TRL computed its loss without `_get_per_token_logps_and_entropies`, so the domains' gradients cannot "
                "be told apart: this version of it works in another way. Install a version of TRL in the range that "
                "mcpo-rl supports (mcpo-rl doctor says which)."
            )

    def run(self, forward: Callable[[Tensor], Any]) -> tuple[Tensor, Tensor | None, None]:
        """Return log-probabilities and entropies (B, C) of all rows, as leaves that gather the loss's gradient.

        Args:
            forward: from the places of rows (R,) to their log-probabilities (R, C), entropies (R, C) or None, and None.
        """
        self.expected = False
        log_probs: list[Tensor] = []
        entropies: list[Tensor | None] = []
        order: list[Tensor] = []
        for domain in sorted(set(self._domains.tolist())):
            rows = (self._domains == domain).nonzero().flatten()
            found, entropy, *_ = forward(rows)
            outputs = [found] if entropy is None or not entropy.requires_grad else [found, entropy]
            self._parts.append(_Part(domain=domain, rows=rows, outputs=outputs))
            order.append(rows)
            log_probs.append(found)
            entropies.append(entropy)
        places = torch.cat(order).argsort()
        self._leaves = [_leaf(log_probs, places)]
        if entropies[0] is None:
            return self._leaves[0], None, None
        joined = _leaf([entropy for entropy in entropies if entropy is not None], places)
        if len(self._parts[0].outputs) > 1:
            self._leaves.append(joined)
        else:
            joined.requires_grad_(False)
        return self._leaves[0], joined, None

    def backward_passes(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """Yield each domain with the backward pass of its rows; the loss's own has to be done.

        Raises:
            RuntimeError: the loss does not depend on the log-probabilities.
        """
        gradients = [leaf.grad for leaf in self._leaves]
        if not gradients or gradients[0] is None:
            raise RuntimeError(
                "TRL's loss does not depend on the log-probabilities of `_get_per_token_logps_and_entropies`, so the "
                "policy would not be trained. Install a version of TRL in the range that mcpo-rl supports (mcpo-rl "
                "doctor says which)."
            )
        while self._parts:
            part = self._parts.pop(0)  # its activations are free after its turn
            yield part.domain, lambda part=part: _backward(part, gradients)  # type: ignore[misc]


def _leaf(pieces: list[Tensor], places: Tensor) -> Tensor:
    return torch.cat([piece.detach() for piece in pieces])[places].requires_grad_()


def _backward(part: _Part, gradients: list[Tensor | None]) -> None:
    seeds = [(output, g[part.rows]) for output, g in zip(part.outputs, gradients, strict=True) if g is not None]
    torch.autograd.backward([output for output, _ in seeds], [seed for _, seed in seeds])
