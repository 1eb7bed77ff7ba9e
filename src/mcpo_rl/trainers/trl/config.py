"""Our configurations: one of TRL's each, and the settings of the contrastive term."""

from __future__ import annotations

from dataclasses import dataclass

from trl import GRPOConfig, RLOOConfig

from mcpo_rl.trainers.trl.arguments import RolloutArguments


@dataclass
class MCPOConfig(RolloutArguments, GRPOConfig):  # type: ignore[misc]  # TRL publishes no types
    """Everything `trl.GRPOConfig` has, unchanged, and the fields of `RolloutArguments`.

    The mathematics behind the `contrastive_*` fields is in docs/method.md.

    Raises:
        ConfigError: a field or a combination of fields cannot work; the message names the field, the value, what was
            expected and what to do.

    Example:
        >>> args = MCPOConfig(output_dir="run", num_generations=8, contrastive_grad_ratio=0.2)  # doctest: +SKIP
    """


@dataclass
class MCPORLOOConfig(RolloutArguments, RLOOConfig):  # type: ignore[misc]
    """Everything `trl.RLOOConfig` has, unchanged, and the fields of `RolloutArguments`.

    Raises:
        ConfigError: as for `MCPOConfig`.
    """


RolloutConfig = MCPOConfig | MCPORLOOConfig
"""What a trainer that rolls out is configured with."""
