"""The contrastive head: from a pooled hidden state to a compact representation on the unit sphere.

Axes: N rollouts of the pool, d features, m head width (the embedding).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcpo_rl.errors import ConfigError


class ContrastiveHead(nn.Module):
    """z = normalize(W2 gelu(W1 layernorm(h))): a small MLP with an L2-normalised output.

    The input is standardised (layer norm without parameters) because the scale of hidden states differs by orders of
    magnitude between models and layers. The parameters are drawn from the head's own generator, so that making a head
    never moves the global random state (a run with the contrastive term switched off stays plain GRPO, bit for bit)
    and every rank makes the same head.

    Args:
        feature_dim: d, the width of the pooled hidden states.
        hidden_dim: width of the hidden layer.
        embedding_dim: m, the width of the representation.
        seed: of the initial parameters; the same seed gives the same head on every device.
        dtype: of the parameters and of z; float32, or float64 for exact tests.
        device: of the parameters.

    Raises:
        ConfigError: a width below 1.

    Example:
        >>> z = ContrastiveHead(16, embedding_dim=8)(torch.randn(3, 16))
        >>> z.shape, bool(torch.allclose(z.norm(dim=1), torch.ones(3)))
        (torch.Size([3, 8]), True)
    """

    def __init__(
        self,
        feature_dim: int,
        *,
        hidden_dim: int = 256,
        embedding_dim: int = 128,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        for name, width in (("feature_dim", feature_dim), ("hidden_dim", hidden_dim), ("embedding_dim", embedding_dim)):
            if width < 1:
                raise ConfigError(f"ContrastiveHead.{name} is {width}; expected a whole number >= 1.")
        self.feature_dim, self.hidden_dim, self.embedding_dim = feature_dim, hidden_dim, embedding_dim
        # Made on `meta`, because nn.Linear's own initialisation would draw from the global generator.
        home = torch.get_default_device() if device is None else device
        self.inner = nn.Linear(feature_dim, hidden_dim, dtype=dtype, device="meta").to_empty(device=home)
        self.outer = nn.Linear(hidden_dim, embedding_dim, dtype=dtype, device="meta").to_empty(device=home)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for linear in (self.inner, self.outer):
                bound = 1 / math.sqrt(linear.in_features)
                for parameter in (linear.weight, linear.bias):
                    drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)  # on the CPU, always
                    parameter.copy_((2 * drawn - 1) * bound)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.inner.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters and of z."""
        return self.inner.weight.dtype

    def forward(self, features: Tensor) -> Tensor:
        """Map h (N, d), any floating dtype, to z (N, m) of unit rows in the head's dtype."""
        features = F.layer_norm(features.to(self.dtype), (self.feature_dim,))
        embeddings = self.outer(F.gelu(self.inner(features)))
        return F.normalize(embeddings, dim=-1)
