"""The gradient of each domain at the measured matrices, and what follows from their inner products.

Axes: D domains, each in two halves by prompt: groups 2k and 2k + 1 of domain k; group 2D is the contrastive term; B
rollouts of a micro-batch, T tokens; r_out x r_in the size of a sketched gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mcpo_rl.trainers.trl.interference.points import Point
from mcpo_rl.trainers.trl.interference.sketch import Sketch

HALVES = 2
_CHUNK = 2**24  # entries brought to full precision at once


class DomainGradients:
    """Sums of outer products d_t x_t^T, by group, over the micro-batches of an optimizer step.

    Args:
        points: where.
        domains: D.
        dim: rows and columns of a gradient that are kept (`Sketch`).
        device: of the sums.
        dtype: of the sums: float32, or float64 for a float64 model.
    """

    def __init__(
        self, points: Sequence[Point], domains: int, dim: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._sketches = [
            (Sketch(point.outputs, dim, seed=2 * number), Sketch(point.inputs, dim, seed=2 * number + 1))
            for number, point in enumerate(points)
        ]
        self.sums = [
            torch.zeros(HALVES * domains + 1, left.dim, right.dim, device=device, dtype=dtype)
            for left, right in self._sketches
        ]
        self.rollouts = torch.zeros(HALVES * domains, device=device, dtype=dtype)

    def sketched_input(self, point: int, inputs: Tensor) -> Tensor:
        """Return what is kept of x (B, T, in) until the gradient on the output is known."""
        return self._sketches[point][1](inputs.detach())

    def add(self, point: int, groups: Sequence[int], inputs: Tensor, gradient: Tensor, factor: float) -> None:
        """Add sum_t d_t x_t^T of each rollout to its group.

        Args:
            point: number of the point.
            groups: (B,) the group of each rollout.
            inputs: (B, T, r_in), from `sketched_input`.
            gradient: (B, T, out), d_t.
            factor: from the units of this backward pass to those that reach the parameters.
        """
        sums = self.sums[point]
        for group in sorted(set(groups)):
            rows = [row for row, other in enumerate(groups) if other == group]
            each = max(1, _CHUNK // max(1, gradient[0].numel()))
            for start in range(0, len(rows), each):
                some = rows[start : start + each]
                left = self._sketches[point][0](gradient[some].to(sums.dtype)).flatten(0, 1)
                right = inputs[some].to(sums.device, sums.dtype).flatten(0, 1)
                sums[group].addmm_(left.to(sums.device).T, right, alpha=factor)

    def add_term(self, features: Tensor, gradients: Tensor) -> None:
        """Add the contrastive gradient where the one point is the last hidden states, of which features are means.

        With h_i = sum_t w_t H_t it is sum_t (w_t g_i) H_t^T = g_i h_i^T of each rollout.

        Args:
            features: h (B, d).
            gradients: g (B, d), in units of its own: its direction alone is read.
        """
        (sums,), ((left, right),) = self.sums, self._sketches
        gradients, features = (value.detach().to(sums.device, sums.dtype) for value in (gradients, features))
        sums[-1].addmm_(left(gradients).T, right(features))

    def count(self, groups: Sequence[int]) -> None:
        """Take note of the rollouts of a micro-batch."""
        for group in groups:
            self.rollouts[group] += 1

    def products(self) -> Tensor:
        """Return (2D + 1, 2D + 1) float64 on the CPU: inner products of the groups' gradients, over all points."""
        # In float64 where the device has it: a million terms that may cancel.
        wide = torch.float32 if self.sums[0].device.type == "mps" else torch.float64
        groups = len(self.rollouts) + 1
        total = torch.zeros(groups, groups, dtype=wide, device=self.sums[0].device)
        for sums in self.sums:
            flat = sums.flatten(1).to(wide)
            total += flat @ flat.T
        return total.double().cpu()


def interference_metrics(products: Tensor, rollouts: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """Return what is logged of one optimizer step.

    With G_A the gradient of domain A's rollouts, the sum of those of its halves,

        norm/A = |G_A|,    share/A = |G_A| / sum_B |G_B|,    cosine/A/B = <G_A, G_B> / (|G_A| |G_B|),
        conflict = share of the pairs with a negative cosine,
        reliability/A = n^2 / (n_1 n_2) <G_A1, G_A2> / |G_A|^2   (n_1, n_2 rollouts of the halves, n = n_1 + n_2),
        term/A = <G_C, G_A> / (|G_C| |G_A|)   (G_C the contrastive term's, where it was measured and is not 0),

    reliability being the part of |G_A|^2 that is not the luck of the prompts drawn: both halves have the same gradient
    on average and are drawn apart, so their inner product estimates its squared norm without bias. With equal halves it
    is the reliability of Spearman (1910) and Brown (1910).

    A domain without gradient (no rollouts, or rewards that are all equal in every group) has norm and share 0 and no
    cosine.

    Args:
        products: (2D + 1, 2D + 1), inner products of the groups' gradients.
        rollouts: (2D,) of each group.
        names: (D,) of the domains.
    """
    size = len(names)
    blocks = products[:-1, :-1].reshape(size, HALVES, size, HALVES)
    whole = blocks.sum(dim=(1, 3))
    if not bool(torch.isfinite(products).all()):
        return {}  # of a step that fp16's loss scale makes the engine pass over, or the last one before it gives up
    norms = [math.sqrt(max(0.0, float(whole[k, k]))) for k in range(size)]
    with_term = products[-1, :-1].reshape(size, HALVES).sum(dim=1)
    norm_of_term = math.sqrt(max(0.0, float(products[-1, -1])))
    total = sum(norms)
    metrics: dict[str, float] = {}
    cosines: list[float] = []
    for a in range(size):
        metrics[f"norm/{names[a]}"] = norms[a]
        metrics[f"share/{names[a]}"] = norms[a] / total if total > 0 else 0.0
        n1, n2 = rollouts[HALVES * a], rollouts[HALVES * a + 1]
        if norms[a] > 0 and n1 > 0 and n2 > 0:
            between = float(blocks[a, 0, a, 1])
            metrics[f"reliability/{names[a]}"] = (n1 + n2) ** 2 / (n1 * n2) * between / norms[a] ** 2
        if norms[a] > 0 and norm_of_term > 0:
            metrics[f"term/{names[a]}"] = _cosine(with_term[a], norms[a], norm_of_term)
        for b in range(size):
            if names[a] < names[b] and norms[a] > 0 and norms[b] > 0:
                cosines.append(_cosine(whole[a, b], norms[a], norms[b]))
                metrics[f"cosine/{names[a]}/{names[b]}"] = cosines[-1]
    if cosines:
        metrics["conflict"] = sum(cosine < 0 for cosine in cosines) / len(cosines)
    return {f"interference/{name}": value for name, value in metrics.items()}


def _cosine(product: Tensor, one: float, other: float) -> float:
    return max(-1.0, min(1.0, float(product) / (one * other)))


def halves_by_prompt(domains: Sequence[int], prompts: Sequence[int]) -> list[int]:
    """Return the group of each rollout: 2 x domain, plus 1 for every second prompt of the domain.

    The same on every rank, as the rollouts of all ranks are counted.

    Args:
        domains: (N,) numbers of domains.
        prompts: (N,) numbers that the rollouts of one prompt share.
    """
    seen: dict[int, dict[int, int]] = {}
    groups = []
    for domain, prompt in zip(domains, prompts, strict=True):
        order = seen.setdefault(domain, {})
        groups.append(HALVES * domain + order.setdefault(prompt, len(order)) % HALVES)
    return groups
