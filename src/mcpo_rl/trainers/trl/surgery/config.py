"""The configuration of gradient surgery: that of the trainer without the contrastive term, and what is projected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.trainers.trl.config import MCPOConfig

SurgeryScope = Literal["model", "module"]


@dataclass
class PCGradConfig(MCPOConfig):
    """Everything `MCPOConfig` has, with `contrastive_coef=0`, and what PCGrad looks at as one gradient.

    Raises:
        ConfigError: as for `MCPOConfig`; a positive `contrastive_coef`; an optimizer that steps during the backward
            pass.

    Example:
        >>> args = PCGradConfig(output_dir="run", num_generations=8)  # doctest: +SKIP
    """

    contrastive_coef: float | None = field(
        default=0.0, metadata={"help": "Gradient surgery is a baseline without the contrastive term: 0."}
    )
    """0: the projections are of policy gradients alone."""
    surgery_scope: str = field(
        default="model",
        metadata={"help": "What is projected as one vector: the whole model, or each module by itself."},
    )
    """`model`: the gradient of all trained parameters is one vector, as in PCGrad. `module`: conflicts are looked for,
    and removed, in each module that holds parameters by itself."""

    def check_arguments(self) -> None:
        """Check our fields and how they go with TRL's."""
        super().check_arguments()
        if self.surgery_scope not in get_args(SurgeryScope):
            raise ConfigError(
                f"surgery_scope is {self.surgery_scope!r}; expected `model` or `module`."
                f"{nearest(str(self.surgery_scope), get_args(SurgeryScope))}"
            )
        if self.contrastive_enabled:
            raise ConfigError(
                f"contrastive_coef is {self.contrastive_coef!r}; gradient surgery projects policy gradients and has no "
                "place for the contrastive term. Leave it at 0, or train with MCPOTrainer."
            )
        # A plain word before transformers has made an OptimizerNames of it.
        optimizer = str(getattr(self.optim, "value", self.optim))
        if "lomo" in optimizer or "layerwise" in optimizer:
            raise ConfigError(
                f"optim is {optimizer!r}, which updates the weights during the backward pass: the domains' gradients "
                "could not be compared first. Use another optimizer, such as adamw_torch."
            )
