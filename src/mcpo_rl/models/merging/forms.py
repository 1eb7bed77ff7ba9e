"""How weight deltas are put together: the arithmetic of one stretch of one tensor.

With base weights w_0, specialists' weights w_i and deltas d_i = w_i - w_0, i = 1..S, every form is
w = w_0 + scale * combination(d_1, ..., d_S), with the coefficients a_i (`weights`, all 1 by default):

- `average`: sum_i a_i d_i / sum_i a_i.
- `ties` (Yadav et al. 2023, arXiv 2306.01708): of each d_i the `density` largest magnitudes of the whole model are
  kept, the rest is 0; per element the sign of sum_i a_i d_i is elected; the weighted mean of those that have it is
  taken. An exact tie elects no sign: the base's weight stays.
- `dare` (Yu et al. 2023, arXiv 2311.03099): each element of each d_i is kept with probability `density` and then
  divided by it; then `average`.
- `dare-ties`: the same dropping, then the election of `ties`.

Axes: S specialists, E elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError, nearest

FORMS = {
    "average": "the average of the weight deltas",
    "ties": "TIES: the largest of each, a sign elected per weight, the mean of those that agree",
    "dare": "DARE: each kept at random and scaled up, then averaged",
    "dare-ties": "DARE, then the election of signs of TIES",
}
"""Name to what it does, in a few words."""

_DENSITY = {"average": 1.0, "ties": 0.2, "dare": 0.5, "dare-ties": 0.5}


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """How to merge.

    Raises:
        ConfigError: a field cannot work; the message names it, its value and what was expected.

    Example:
        >>> MergeOptions(form="ties").density_in_use
        0.2
    """

    form: str = "average"
    """One of `FORMS`."""
    density: float | None = None
    """Share of each delta that is kept, in (0, 1]: the largest (`ties`), or at random (`dare`, `dare-ties`). None: 0.2
    for `ties`, as its paper recommends, 0.5 for DARE."""
    scale: float = 1.0
    """On the combined delta; lambda of TIES. With `average`, S times the default is task arithmetic's sum."""
    weights: tuple[float, ...] | None = None
    """a_i > 0, one for each specialist; None: all alike. Only their proportions count."""
    seed: int = 0
    """Of what DARE drops."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.form not in FORMS:
            raise ConfigError(
                f"there is no form of merging `{self.form}`; there are {', '.join(FORMS)}.{nearest(self.form, FORMS)}"
            )
        if self.density is not None and not 0 < self.density <= 1:
            raise ConfigError(f"density is {self.density}; expected a share in (0, 1], e.g. 0.2.")
        if self.density not in (None, 1.0) and self.form == "average":
            raise ConfigError(
                f"density is {self.density}, but `average` keeps all. Leave it out, or choose ties or dare."
            )
        if not math.isfinite(self.scale):
            raise ConfigError(f"scale is {self.scale}; expected a finite number (1 is usual).")
        if self.weights is not None and not all(weight > 0 and math.isfinite(weight) for weight in self.weights):
            raise ConfigError(f"weights are {list(self.weights)}; expected numbers > 0, one for each model.")

    @property
    def density_in_use(self) -> float:
        """The share of each delta that is kept."""
        return _DENSITY[self.form] if self.density is None else self.density

    @property
    def trims(self) -> bool:
        """Whether the largest magnitudes of the whole model are kept, so that they have to be known first."""
        return self.form == "ties" and self.density_in_use < 1

    @property
    def drops(self) -> bool:
        """Whether elements are dropped at random."""
        return self.form in ("dare", "dare-ties") and self.density_in_use < 1

    def coefficients(self, specialists: int) -> Tensor:
        """Return a_i (S,), float64.

        Raises:
            ConfigError: another number of `weights`.
        """
        if self.weights is None:
            return torch.ones(specialists, dtype=torch.float64)
        if len(self.weights) != specialists:
            raise ConfigError(f"there are {len(self.weights)} weights for {specialists} models; give one for each.")
        return torch.tensor(self.weights, dtype=torch.float64)


def trimmed(deltas: Tensor, thresholds: Tensor) -> Tensor:
    """Return `deltas` (S, E) with 0 where the magnitude is below the specialist's threshold (S,)."""
    return deltas * (deltas.abs().to(thresholds.dtype) >= thresholds[:, None])


def dropped(deltas: Tensor, density: float, generators: list[torch.Generator]) -> Tensor:
    """Return `deltas` (S, E), each element kept with probability `density` and divided by it, else 0."""
    chances = torch.stack([torch.rand(deltas.shape[1], generator=generator) for generator in generators])
    return deltas * (chances < density) / density


def averaged(deltas: Tensor, coefficients: Tensor) -> Tensor:
    """Return sum_i a_i d_i / sum_i a_i of `deltas` (S, E): (E,)."""
    return (coefficients / coefficients.sum()).to(deltas.dtype) @ deltas


def elected(deltas: Tensor, coefficients: Tensor) -> Tensor:
    """Return per element the weighted mean of the deltas (S, E) that have the sign of their weighted sum: (E,).

    Example:
        >>> elected(torch.tensor([[3.0, 1.0, 2.0], [-1.0, 1.0, 0.0]]), torch.ones(2)).tolist()
        [3.0, 1.0, 2.0]
    """
    weighted = coefficients.to(deltas.dtype)[:, None] * deltas
    sign = weighted.sum(dim=0).sign()
    agree = deltas.sign() == sign  # where no sign is elected, those that are 0 themselves
    total = (agree * coefficients.to(deltas.dtype)[:, None]).sum(dim=0)
    return (weighted * agree).sum(dim=0) / total.masked_fill(total == 0, 1)


def combined(deltas: Tensor, coefficients: Tensor, form: str) -> Tensor:
    """Return the combination (E,) of deltas (S, E) that were trimmed or dropped where the form asks for it."""
    return elected(deltas, coefficients) if form in ("ties", "dare-ties") else averaged(deltas, coefficients)
