"""The settings of the contrastive term, checked at construction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from mcpo_rl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from mcpo_rl.objective.pool import RolloutPool

NegativeScope = Literal["all", "domain", "prompt"]
Anchors = Literal["rollout", "prompt"]
Consolidation = Literal["contrastive", "align"]
BuiltinScorer = Literal["centered", "cosine", "random"]
Scorer = Callable[["RolloutPool"], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """How positives and negatives are chosen and how the two losses are formed and weighed.

    Raises:
        ConfigError: a field has a value that cannot work; the message names the field, the value and what was expected.

    Example:
        >>> ContrastiveConfig(temperature=0.1, negatives="domain").num_positives
        4
    """

    temperature: float = 0.1
    """tau > 0: similarities are divided by it; a smaller one lets the hardest negatives dominate."""
    anchors: Anchors = "rollout"
    """`prompt`: the correct rollouts of a prompt are averaged to one row of the pool before anything is scored. The
    objective does it (`merge_prompts`); `contrastive_loss` takes a pool as it is."""
    num_positives: int = 4
    """At most so many transferable positives per anchor (>= 1), at most one of each prompt."""
    mutual_positives: bool = False
    """Whether j stays in P(i) only if P(j) holds a rollout of i's prompt."""
    detach_positives: bool = False
    """Whether l_ip and l_iq carry no gradient into z_p and z_q: the anchor alone moves to its positives."""
    min_transferability: float = 0.0
    """A rollout is a positive only if its score t_ij is at least this; -1 lets every cosine pass."""
    share_weight: float = 1.0
    """lambda_share >= 0: weight of cross-domain knowledge sharing; 0 skips its work (and chooses no positives)."""
    consolidate_weight: float = 1.0
    """lambda_cons >= 0: weight of in-domain knowledge consolidation; 0 skips its work."""
    negatives: NegativeScope = "all"
    """Which usable incorrect rollouts stand against an anchor: `all`, those of its `domain`, or those of its
    `prompt`."""
    consolidation: Consolidation = "contrastive"
    """Form of the in-domain loss: `contrastive` (l_iq against the negatives) or `align` (1 - s_iq, no negatives)."""
    transferability: BuiltinScorer | Scorer = "centered"
    """t_ij: `centered` cosine of the features less their domain's mean, plain `cosine` of the embeddings z, `random`
    (the ablation), or any callable that takes the pool and returns finite scores of shape (N, N), row i for anchor
    i."""
    block_size: int | None = 512
    """Anchors handled at once (>= 1): memory grows with block_size x N. None takes all at once; the result is the
    same."""

    def __post_init__(self) -> None:
        """Check every field."""
        _check_number("temperature", self.temperature, above=0.0, advice="0.1 is usual")
        _check_number("min_transferability", self.min_transferability, advice="cosines lie between -1 and 1")
        for name in ("share_weight", "consolidate_weight"):
            _check_number(name, getattr(self, name), at_least=0.0, advice="0 switches the loss off")
        _check_count("num_positives", self.num_positives, advice="to switch sharing off set share_weight to 0")
        if self.block_size is not None:
            _check_count("block_size", self.block_size, advice="None takes all anchors at once")
        for name in ("mutual_positives", "detach_positives"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"ContrastiveConfig.{name} is {getattr(self, name)!r}; expected true or false.")
        _check_choice("anchors", self.anchors, get_args(Anchors))
        _check_choice("negatives", self.negatives, get_args(NegativeScope))
        _check_choice("consolidation", self.consolidation, get_args(Consolidation))
        if not callable(self.transferability):
            advice = "; or pass a callable that takes the pool and returns (N, N) scores"
            _check_choice("transferability", self.transferability, get_args(BuiltinScorer), advice)


def _check_number(
    field: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, advice: str
) -> None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (fits and math.isfinite(value) and value > above and value >= at_least):
        bound = f" > {above:g}" if above > -math.inf else f" >= {at_least:g}" if at_least > -math.inf else ""
        raise ConfigError(f"ContrastiveConfig.{field} is {value!r}; expected a finite number{bound} ({advice}).")


def _check_count(field: str, value: Any, *, advice: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"ContrastiveConfig.{field} is {value!r}; expected a whole number >= 1 ({advice}).")


def _check_choice(field: str, value: Any, valid: tuple[str, ...], advice: str = "") -> None:
    if value not in valid:
        names = ", ".join(f"`{name}`" for name in valid)
        hint = nearest(value, valid) if isinstance(value, str) else ""
        raise ConfigError(f"ContrastiveConfig.{field} is {value!r}; expected one of {names}{advice}.{hint}")
