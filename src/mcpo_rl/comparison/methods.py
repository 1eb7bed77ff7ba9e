"""The methods that can be compared, by name, and what each may spend. Imports nothing heavy: `--help` lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mcpo_rl.errors import ConfigError, nearest

Kind = Literal["mixed", "single", "sequential", "merge"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """How one method is trained from the recipe of the comparison."""

    label: str
    """As it stands in tables."""
    about: str
    """One line."""
    kind: Kind = "mixed"
    """`mixed`: one run on all domains. `single`: a run per domain. `sequential`: a run per domain, each from the last.
    `merge`: no training, the specialists of `single` are merged."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the recipe that this method sets; for `merge` the options of `mcpo-rl merge`."""
    needs: str | None = None
    """A method whose runs it is made from."""


_GRPO = {"method": "grpo"}
_MCPO = {"method": "mcpo"}

METHODS: dict[str, Method] = {
    "grpo": Method(label="GRPO", about="one run on the mixture", changes=_GRPO),
    "mcpo": Method(label="MCPO", about="the recipe's contrastive settings", changes=_MCPO),
    "single": Method(label="single-domain", about="a GRPO specialist per domain", kind="single", changes=_GRPO),
    "sequential": Method(
        label="sequential", about="GRPO on one domain after the other", kind="sequential", changes=_GRPO
    ),
    "merge": Method(
        label="merge (average)",
        about="the specialists' weight deltas averaged",
        kind="merge",
        changes={"form": "average"},
        needs="single",
    ),
    "merge-ties": Method(
        label="merge (TIES)",
        about="the specialists' weight deltas merged with TIES",
        kind="merge",
        changes={"form": "ties"},
        needs="single",
    ),
    "pcgrad": Method(
        label="PCGrad", about="GRPO with conflicting domain gradients projected", changes={"method": "pcgrad"}
    ),
    "pcgrad-module": Method(
        label="PCGrad by module",
        about="the same with each module's gradients projected by themselves",
        changes={"method": "pcgrad", "surgery_scope": "module"},
    ),
    "mcpo-no-share": Method(
        label="MCPO, no sharing", about="without the loss across domains", changes=_MCPO | {"share_weight": 0.0}
    ),
    "mcpo-no-consolidate": Method(
        label="MCPO, no consolidation",
        about="without the loss inside a domain",
        changes=_MCPO | {"consolidate_weight": 0.0},
    ),
    "mcpo-random-positives": Method(
        label="MCPO, random positives",
        about="positives drawn at random",
        changes=_MCPO | {"transferability": "random"},
    ),
    "mcpo-cosine": Method(
        label="MCPO, plain cosine",
        about="transferability without taking out the domains' means",
        changes=_MCPO | {"transferability": "cosine"},
    ),
}
"""Name to method, in the order of the tables."""


BUDGETS = {
    "per-domain": "every domain gets the same rollouts with every method: a specialist gets those that the mixture "
    "gives its domain, and all specialists together cost what one run on the mixture costs",
    "total": "every model gets the same rollouts in all: a specialist gets as many of its one domain as a run on the "
    "mixture gets of all domains, and all specialists together cost as many runs",
}
"""The two conventions, as they are stated beside the results. They differ for `single` and what is merged from it."""


def methods_of(names: Sequence[str], methods: Mapping[str, Method] = METHODS) -> list[str]:
    """Return the methods to run for those named: in the order of the tables, with those that others are made from.

    Args:
        names: The methods asked for.
        methods: Those that there are.

    Raises:
        ConfigError: No name, or one that is no method.

    Example:
        >>> methods_of(["merge", "grpo"])
        ['grpo', 'single', 'merge']
    """
    if not names:
        raise ConfigError(f"name at least one method: {', '.join(methods)}.")
    wanted = set()
    for name in names:
        if name not in methods:
            raise ConfigError(f"there is no method `{name}`; there are {', '.join(methods)}.{nearest(name, methods)}")
        wanted |= {name} | ({needed} if (needed := methods[name].needs) else set())
    return [name for name in methods if name in wanted]
