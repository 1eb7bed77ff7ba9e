"""What each method may spend, and how a recipe is cut down to one domain's part of it.

Axes: P prompts of a generation batch, G rollouts per prompt, S optimizer steps, w_d the share of domain d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mcpo_rl.data.mixture.curricula import CURRICULA, Ordering
from mcpo_rl.data.mixture.options import mixture_options
from mcpo_rl.data.mixture.weights import shares_of
from mcpo_rl.errors import ConfigError

_TOLERANCE = 10**6  # largest denominator of a share: 0.3333333 is a third


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The batch of a recipe, on one process."""

    per_device: int
    """`per_device_train_batch_size`."""
    accumulation: int
    """`gradient_accumulation_steps`."""
    num_generations: int
    """G."""
    generation_batch: int
    """Rollouts of a generation batch: P x G."""
    steps_per_generation: int
    num_iterations: int = 1
    in_rollouts: bool = False
    """Whether the recipe says the generation batch as `generation_batch_size`."""

    @property
    def rollouts_per_step(self) -> float:
        """New rollouts per optimizer step, on one process."""
        return self.generation_batch * self.generations_per_step

    @property
    def generations_per_step(self) -> float:
        """Generation batches per optimizer step: below 1 where one feeds several steps."""
        return self.accumulation / (self.steps_per_generation * self.num_iterations)

    @property
    def prompts(self) -> int:
        """P."""
        return self.generation_batch // self.num_generations


@dataclass(frozen=True, kw_only=True)
class Part:
    """How much one run of one domain trains."""

    steps: int
    share: float
    """Its rollouts per optimizer step, as a part of those of a run on the mixture."""
    changes: Mapping[str, Any]
    """Keys of the recipe that make it so."""


def domain_shares(mixture: Any, rows: Mapping[str, int]) -> dict[str, float]:
    """Return w_d of every domain that is trained on.

    Args:
        mixture: The recipe's `mixture`. None: all rows are shuffled, so the shares are those of the rows.
        rows: Domain to its number of problems.

    Raises:
        ConfigError: Weights that do not fit the data.
    """
    if mixture is None:
        return shares_of("proportional", rows, field="mixture.weights")
    options = mixture_options(_without_resample(mixture))
    shares = shares_of(options.weights, rows, temperature=options.temperature, field="mixture.weights")
    return {domain: share for domain, share in shares.items() if share > 0}


def specialist_part(batch: Batch, steps: int, share: float, budget: str) -> Part:
    """Return how a specialist trains.

    Under `total` as a run on the mixture does. Under `per-domain` with as many optimizer steps on batches of w_d P
    prompts: with a `mixture` in the recipe these are, step by step, the very prompts of the domain that the run on the
    mixture sees. Where w_d P is no whole number or the batch cannot be cut so, it takes w_d S steps on whole batches.

    Args:
        batch: Of the recipe.
        steps: S.
        share: w_d.
        budget: One of `methods.BUDGETS`.
    """
    if budget == "total":
        return Part(steps=steps, share=1.0, changes={})
    cut = _cut(batch, Fraction(share).limit_denominator(_TOLERANCE))
    if cut is not None:
        return Part(steps=steps, share=share, changes=cut)
    return Part(steps=_steps(steps, share), share=1.0, changes={"max_steps": _steps(steps, share)})


def stage_parts(steps: int, shares: Mapping[str, float]) -> dict[str, Part]:
    """Return how the stages of `sequential` train: whole batches, S steps in all, split by the shares.

    Raises:
        ConfigError: Fewer steps than domains.
    """
    if steps < len(shares):
        raise ConfigError(f"`max_steps` is {steps}; `sequential` needs a step for each of the {len(shares)} domains.")
    counts = {domain: _steps(steps, share) for domain, share in shares.items()}
    while (over := sum(counts.values()) - steps) != 0:  # rounding; the stage furthest from its share gives or takes one
        step = 1 if over < 0 else -1
        able = [domain for domain in counts if counts[domain] + step >= 1]
        chosen = max(able, key=lambda domain: step * (shares[domain] * steps - counts[domain]))
        counts[chosen] += step
    return {domain: Part(steps=count, share=1.0, changes={"max_steps": count}) for domain, count in counts.items()}


def one_domain_mixture(mixture: Any) -> Any:
    """Return a recipe's `mixture` for a single domain: the order of its rows and resampling stay, shares go."""
    if mixture is None:
        return None
    if isinstance(mixture, str):
        return "equal"
    kept = {key: value for key, value in mixture.items() if key not in ("weights", "temperature", "curriculum")}
    orderings = [item for item in _listed(mixture.get("curriculum")) if _orders(item)]
    return {"weights": "equal"} | kept | ({"curriculum": orderings} if orderings else {})


def reacts(mixture: Any) -> bool:
    """Whether what is drawn depends on how the model does, so that two methods may see other prompts."""
    if not isinstance(mixture, Mapping):
        return False
    reweighting = mixture_options(_without_resample(mixture)).reweighting
    return bool(mixture.get("resample")) or (reweighting is not None and reweighting.adaptive)


def moves(mixture: Any) -> bool:
    """Whether the shares of the domains change during training."""
    return isinstance(mixture, Mapping) and mixture_options(_without_resample(mixture)).reweighting is not None


def _cut(batch: Batch, share: Fraction) -> dict[str, Any] | None:
    """Return the batch keys with which every generation batch holds w_d P prompts; None where none do."""
    rollouts = share * batch.generation_batch
    if rollouts % batch.num_generations != 0:
        return None
    whole = {"generation_batch_size": int(rollouts)} if batch.in_rollouts else {}
    accumulation, generations = share * batch.accumulation, share * batch.steps_per_generation
    if accumulation.denominator == 1 and (batch.in_rollouts or generations.denominator == 1):
        turns = {} if batch.in_rollouts else {"steps_per_generation": int(generations)}
        return whole | turns | {"gradient_accumulation_steps": int(accumulation)}
    per_device = share * batch.per_device
    if per_device.denominator == 1:
        return whole | {"per_device_train_batch_size": int(per_device)}
    return None


def _steps(steps: int, share: float) -> int:
    return max(1, round(steps * share))


def _without_resample(mixture: Any) -> Any:
    return (
        {key: value for key, value in mixture.items() if key != "resample"} if isinstance(mixture, Mapping) else mixture
    )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _orders(item: Any) -> bool:
    settings = {"kind": item} if isinstance(item, str) else dict(item)
    made = CURRICULA[settings.pop("kind")](settings, "mixture.curriculum.")
    return isinstance(made, Ordering)
