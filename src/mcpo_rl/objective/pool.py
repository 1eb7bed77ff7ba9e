"""The rollout pool: everything that the contrastive term knows of a generation batch.

Axes: N rollouts of the pool, d features (width of the pooled hidden state), B rows of a micro-batch, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError, PoolError, nearest

Pooling = Literal["mean", "last", "weighted"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RolloutPool:
    """N rollouts of several domains: what they look like inside, where they come from, and how they were judged.

    Everything is checked at construction; the integer fields are kept as int64.

    Raises:
        PoolError: a field has the wrong type, dtype, shape, length or device, or a feature is NaN or infinite.

    Example:
        >>> pool = RolloutPool(
        ...     features=torch.randn(4, 8),
        ...     domains=torch.tensor([0, 0, 1, 1]),
        ...     prompts=torch.tensor([0, 0, 1, 1]),
        ...     correct=torch.tensor([True, False, True, False]),
        ... )
        >>> len(pool), pool.feature_dim
        (4, 8)
    """

    features: Tensor
    """h (N, d), floating point, finite: pooled hidden states of the policy."""
    domains: Tensor
    """dom (N,), int32 or int64, any values: the domain of each rollout."""
    prompts: Tensor
    """q (N,), int32 or int64, any values: rollouts of one prompt share one number."""
    correct: Tensor
    """c (N,), bool: the reward reached the threshold."""
    usable: Tensor = None  # type: ignore[assignment]  # None at construction only: all usable
    """u (N,), bool: could be judged and was not truncated away. Left out: all are usable. The rest has no part in
    anything."""

    def __post_init__(self) -> None:
        """Check the fields against each other and bring the integers to int64."""
        features = self._tensor("features")
        if not features.is_floating_point():
            raise PoolError(f"RolloutPool.features is {features.dtype}; expected floating point, shape (N, d).")
        if features.dim() != 2 or features.shape[1] == 0:
            raise PoolError(
                f"RolloutPool.features has shape {tuple(features.shape)}; expected (N, d): one row for each rollout. "
                "`pool_hidden_states` makes them from (B, T, d) hidden states."
            )
        if self.usable is None:
            everything = torch.ones(features.shape[0], dtype=torch.bool, device=features.device)
            object.__setattr__(self, "usable", everything)
        for name in ("domains", "prompts"):
            self._check_labels(name, (torch.int32, torch.int64), "int32 or int64")
            object.__setattr__(self, name, getattr(self, name).long())
        for name in ("correct", "usable"):
            self._check_labels(name, (torch.bool,), "bool (for rewards: `rewards >= correct_threshold`)")
        smallest, largest = torch.aminmax(features.detach(), dim=1)  # both are NaN where there is one
        finite = torch.isfinite(smallest) & torch.isfinite(largest)  # (N,): nothing else of the size (N, d) is made
        if not bool(finite.all()):
            rows = (~finite).nonzero().flatten().tolist()
            first = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            raise PoolError(
                f"RolloutPool.features holds NaN or infinite values in {len(rows)} of {len(self)} rows (rows {first}). "
                "The hidden states overflowed or were pooled over padding; check the model's dtype and the mask."
            )

    def __len__(self) -> int:
        """Return N."""
        return int(self.features.shape[0])

    @property
    def feature_dim(self) -> int:
        """d, the width of a pooled hidden state."""
        return int(self.features.shape[1])

    @property
    def device(self) -> torch.device:
        """The device that all fields are on."""
        return self.features.device

    @property
    def anchors(self) -> Tensor:
        """(N,) bool: the usable correct rollouts, which anchor the losses and serve as positives."""
        return self.usable & self.correct

    @property
    def negatives(self) -> Tensor:
        """(N,) bool: the usable incorrect rollouts."""
        return self.usable & ~self.correct

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> RolloutPool:
        """Return the pool on another device; `dtype` changes the features alone."""
        return RolloutPool(
            features=self.features.to(device=device, dtype=dtype),
            domains=self.domains.to(device=device),
            prompts=self.prompts.to(device=device),
            correct=self.correct.to(device=device),
            usable=self.usable.to(device=device),
        )

    def _tensor(self, name: str) -> Tensor:
        value = getattr(self, name)
        if not isinstance(value, Tensor):
            raise PoolError(f"RolloutPool.{name} is a {type(value).__name__}; expected a torch.Tensor.")
        return value

    def _check_labels(self, name: str, dtypes: tuple[torch.dtype, ...], expected: str) -> None:
        value = self._tensor(name)
        if value.dtype not in dtypes:
            raise PoolError(f"RolloutPool.{name} is {value.dtype}; expected {expected}.")
        if value.dim() != 1:
            raise PoolError(f"RolloutPool.{name} has shape {tuple(value.shape)}; expected (N,).")
        if value.shape[0] != len(self):
            raise PoolError(f"RolloutPool.{name} has {value.shape[0]} entries; features have {len(self)} rows.")
        if value.device != self.device:
            raise PoolError(f"RolloutPool.{name} is on {value.device}, features on {self.device}; move it there first.")


def pool_hidden_states(hidden: Tensor, mask: Tensor, pooling: Pooling = "mean") -> Tensor:
    """Pool the hidden states of a rollout's completion tokens into one vector. Differentiable in `hidden`.

    Args:
        hidden: (B, T, d) floating point; values at masked positions are never read, so they may be NaN.
        mask: (B, T) bool, integer or float; nonzero marks the tokens that count (those of the completion).
        pooling: `mean` over the marked tokens, the `last` marked one, or their `weighted` sum with the mask's values.

    Returns:
        h (B, d): float64 for float64 input, else float32 (half precision is accumulated in float32). A row without a
        marked token is zero.

    Raises:
        PoolError: shapes or dtypes do not fit.
        ConfigError: an unknown `pooling`.

    Example:
        >>> pool_hidden_states(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
        tensor([[2.]])
    """
    if pooling not in get_args(Pooling):
        hint = nearest(str(pooling), get_args(Pooling))
        raise ConfigError(f"pooling is {pooling!r}; expected `mean`, `last` or `weighted`.{hint}")
    if hidden.dim() != 3 or not hidden.is_floating_point():
        raise PoolError(f"hidden is {hidden.dtype} {tuple(hidden.shape)}; expected floating point (B, T, d).")
    if mask.shape != hidden.shape[:2]:
        raise PoolError(
            f"mask has shape {tuple(mask.shape)}; expected {tuple(hidden.shape[:2])}, as hidden has (B, T)."
        )
    if mask.device != hidden.device:
        raise PoolError(f"mask is on {mask.device}, hidden on {hidden.device}; move it there first.")
    marked = mask != 0
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    if pooling == "mean":
        # Filled, not multiplied: 0 x NaN is NaN, in the value and in the gradient.
        total = hidden.masked_fill(~marked[..., None], 0).sum(dim=1, dtype=wide)
        return total / marked.sum(dim=1, keepdim=True).clamp(min=1)
    if pooling == "weighted":
        known = hidden.masked_fill(~marked[..., None], 0).to(wide)
        return torch.einsum("btd,bt->bd", known, mask.to(wide))
    if mask.shape[1] == 0:
        return hidden.sum(dim=1, dtype=wide)
    last = (marked * torch.arange(mask.shape[1], device=mask.device)).amax(dim=1)
    chosen = hidden[torch.arange(mask.shape[0], device=mask.device), last]
    return chosen.masked_fill(~marked.any(dim=1, keepdim=True), 0).to(wide)
