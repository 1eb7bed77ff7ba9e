"""A random sketch of vectors: shorter, with the same inner products on average.

Axes: n vectors, w their width, r the width of the sketch.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Sketch:
    """S x: signs and order of the entries of x are drawn at random, and every ceil(w / r) of them are added up.

    A count sketch (Charikar, Chen & Farach-Colton 2002; as feature hashing, Weinberger et al. 2009) with buckets of
    equal size. Over the draw of the signs

        E[(S x) . (S y)] = x . y,    Var[(S x) . (S y)] <= (|x|^2 |y|^2 + (x . y)^2) / r.

    It costs one pass over the entries and no matrix. A vector of at most r entries stays as it is: exact.

    Two of them make the sketch of a matrix, S_1 G S_2^T, which for a sum of outer products G = sum_t d_t x_t^T is the
    sum of the (S_1 d_t) (S_2 x_t)^T: the matrix itself is never there. Inner products of matrices are kept on average
    too, since the two draws are independent.

    Args:
        width: w.
        dim: r at most.
        seed: of the draw: the same on every rank and in every step, so that sketches add up.

    Example:
        >>> sketch = Sketch(1000, 64, seed=0)
        >>> sketch(torch.ones(3, 1000)).shape
        torch.Size([3, 64])
    """

    def __init__(self, width: int, dim: int, seed: int) -> None:
        self.width, self.dim = width, min(width, dim)
        self.exact = width <= dim
        if self.exact:
            return
        generator = torch.Generator().manual_seed(seed)
        self._each = -(-width // dim)
        padded = self._each * dim
        self._order = torch.randperm(padded, generator=generator)
        signs = torch.randint(0, 2, (padded,), generator=generator) * 2 - 1
        self._signs = signs.masked_fill(self._order >= width, 0)  # entries beyond the vector's end add nothing
        self._order = self._order.clamp(max=width - 1)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return S x (..., r) of the vectors x (..., w), in their type."""
        if self.exact:
            return vectors
        self._order, self._signs = self._order.to(vectors.device), self._signs.to(vectors.device)
        mixed = vectors[..., self._order] * self._signs.to(vectors.dtype)
        summed: Tensor = mixed.view(*vectors.shape[:-1], self._each, self.dim).sum(dim=-2)
        return summed
