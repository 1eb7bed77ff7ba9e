"""The gradients of one optimizer step, kept apart by domain.

Axes: K domains, P trained parameters, M groups of parameters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Reduce = Callable[[Tensor, str], Tensor]
"""`accelerator.reduce`: a tensor and `sum` or `mean`, over the ranks."""


class SeparateGradients:
    """One gradient for each domain, gathered over the micro-batches of an optimizer step.

    Memory: as many gradients of the trained parameters as the step has domains, where plain training has one.

    Args:
        model: whose trained parameters they belong to; not wrapped.
        by_module: inner products are summed up by the module that holds a parameter; else over all of them.
    """

    def __init__(self, model: nn.Module, *, by_module: bool) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._parameters = [parameter for _, parameter in named]
        holders = [name.rpartition(".")[0] if by_module else "" for name, _ in named]
        numbers = {holder: number for number, holder in enumerate(dict.fromkeys(holders))}
        self._groups = [numbers[holder] for holder in holders]
        self._kept: dict[int, list[Tensor | None]] = defaultdict(lambda: [None] * len(named))

    @property
    def groups(self) -> int:
        """M, how many groups of parameters have inner products of their own."""
        return max(self._groups, default=-1) + 1

    @contextmanager
    def gathering(self, domain: int) -> Iterator[None]:
        """Let the backward pass in the block add to this domain's gradient."""
        kept = self._kept[domain]
        for parameter, gradient in zip(self._parameters, kept, strict=True):
            parameter.grad = gradient
        try:
            yield
        finally:
            for place, parameter in enumerate(self._parameters):
                kept[place], parameter.grad = parameter.grad, None

    def reduce(self, domains: int, reduce: Reduce) -> Tensor:
        """Average the gradients over the ranks, as an engine would, and return their inner products.

        Every rank has to call it, also one without a rollout of some domain.

        Args:
            domains: K; the numbers that `gathering` was given lie below it.
            reduce: over the ranks.

        Returns:
            (M, K, K), in float64 on the CPU: <g_i, g_j> of each group of parameters.
        """
        everything = [self._kept[domain] for domain in range(domains)]
        touched = reduce(self._touched(everything), "sum").tolist()
        inner_products: dict[int, Tensor] = {}
        for place, parameter in enumerate(self._parameters):
            if not touched[place]:
                continue  # no domain reaches it on any rank: it has no gradient, as in plain training
            stacked = torch.stack(
                [kept[place] if kept[place] is not None else torch.zeros_like(parameter) for kept in everything]  # type: ignore[misc]
            )
            stacked = reduce(stacked, "mean")
            for kept, gradient in zip(everything, stacked.unbind(), strict=True):
                kept[place] = gradient
            flat = stacked.flatten(1).to(torch.float64 if stacked.device.type == "cpu" else torch.float32)
            group = self._groups[place]
            products = flat @ flat.T
            # Summed up where they are: one transfer from the device for each group, at the end.
            sums = inner_products.setdefault(group, torch.zeros_like(products))
            sums += products.to(sums.device)
        empty = torch.zeros(domains, domains, dtype=torch.float64)
        return torch.stack([inner_products.get(group, empty).cpu().double() for group in range(self.groups)])

    def combine(self, weights: Tensor) -> None:
        """Give every parameter the gradient sum_k weights_k g_k, and forget the domains' own.

        Args:
            weights: (M, K).
        """
        for place, parameter in enumerate(self._parameters):
            combined: Tensor | None = None
            for domain, weight in enumerate(weights[self._groups[place]].tolist()):
                gradient = self._kept[domain][place]
                if gradient is None:
                    continue
                # A tensor of its own: the domains' gradients lie in one block, which is freed only as a whole.
                combined = gradient * weight if combined is None else combined.add_(gradient, alpha=weight)
                self._kept[domain][place] = None
            parameter.grad = combined
        self._kept.clear()

    def _touched(self, everything: list[list[Tensor | None]]) -> Tensor:
        """Return (P,): 1 where some domain's backward pass reached the parameter."""
        reached = [any(kept[place] is not None for kept in everything) for place in range(len(self._parameters))]
        device = self._parameters[0].device if self._parameters else None
        return torch.tensor(reached, dtype=torch.float32, device=device)
