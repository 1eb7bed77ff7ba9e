"""Our configurations: one of TRL's each, and the settings of the contrastive term."""

from __future__ import annotations

from dataclasses import dataclass

from trl import DPOConfig, GRPOConfig, RLOOConfig

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl.arguments import ContrastiveArguments, RolloutArguments


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


@dataclass
class MCPODPOConfig(ContrastiveArguments, DPOConfig):  # type: ignore[misc]
    """Everything `trl.DPOConfig` has, unchanged, and the fields of `ContrastiveArguments`.

    Raises:
        ConfigError: as for `MCPOConfig`.

    Example:
        >>> args = MCPODPOConfig(output_dir="run", gradient_accumulation_steps=8, loss_type="ipo")  # doctest: +SKIP
    """

    def check_arguments(self) -> None:
        """Check our fields and how they go with TRL's."""
        super().check_arguments()
        if self.contrastive_enabled and self.padding_free:
            raise ConfigError(
                "padding_free=True cannot be combined with the contrastive term: it lays all rows end to end, so that "
                "none can be pooled by itself. Set padding_free=False, or contrastive_coef=0."
            )
