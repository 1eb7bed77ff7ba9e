"""The head over a whole pool, forth and back, in memory that does not grow with the head's inner layers times N.

A small pool goes through as one, its graph is kept, and the way back costs a backward pass. A large one goes through in
chunks of rows without a graph; on the way back each chunk's forward pass is made once more.

Axes: N rollouts of the pool, d features, m head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mcpo_rl.objective.head import ContrastiveHead

KEPT_BYTES = 1 << 29
"""What the graph of a chunk may hold."""


class HeadPass:
    """z = head(h) of a pool, and the gradients of any scalar of z.

    Args:
        head: the contrastive head.
        features: h (N, d), any floating dtype; detached.
        kept_bytes: what the graph of a chunk may hold at most (but for one row).
    """

    embeddings: Tensor
    """z (N, m) in the head's dtype: a leaf that requires a gradient."""

    def __init__(self, head: ContrastiveHead, features: Tensor, kept_bytes: int = KEPT_BYTES) -> None:
        self._head = head
        # Of a row are kept: the features, their layer norm, the inner layer before and after its activation, the
        # embedding before and after its normalisation.
        per_row = 2 * (head.feature_dim + head.hidden_dim + head.embedding_dim) * head.inner.weight.itemsize
        self._chunks = torch.split(features, max(1, kept_bytes // per_row))
        self._graph: tuple[Tensor, Tensor] | None = None
        if len(self._chunks) == 1:
            self._graph = self._forward(features)
            self.embeddings = self._graph[1].detach().requires_grad_()
        else:
            with torch.no_grad():
                self.embeddings = torch.cat([self._forward(chunk)[1] for chunk in self._chunks])
            self.embeddings.requires_grad_()

    def backward(self, gradient: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Carry dL/dz (N, m) back; call it once.

        Returns:
            dL/dh (N, d) in the head's dtype, and dL/dw of every parameter of the head; these are left out where dL/dz
            is 0 everywhere.
        """
        feature_grads = gradient.new_zeros(len(gradient), self._head.feature_dim)
        if not bool((gradient != 0).any()):
            return feature_grads, ()
        parameters = tuple(self._head.parameters())
        head_grads: tuple[Tensor, ...] = ()
        rows = len(self._chunks[0])
        into, of_z = torch.split(feature_grads, rows), torch.split(gradient, rows)
        for chunk, chunk_into, chunk_gradient in zip(self._chunks, into, of_z, strict=True):
            h, z = self._graph if self._graph is not None else self._forward(chunk)
            of_h, *of_parameters = torch.autograd.grad(z, (h, *parameters), chunk_gradient)
            self._graph = None
            chunk_into.copy_(of_h)
            if head_grads:
                torch._foreach_add_(head_grads, of_parameters)
            else:
                head_grads = tuple(of_parameters)
        return feature_grads, head_grads

    def _forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        # Copied: a tensor made in inference_mode could not require a gradient.
        h = features.to(self._head.dtype, copy=True).requires_grad_()
        return h, self._head(h)
