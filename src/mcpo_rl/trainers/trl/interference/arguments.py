"""The settings of the measurement of interference."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class InterferenceArguments:
    """How often the domains' gradients are compared, and where. What the metrics mean is in docs/interference.md."""

    interference_steps: int = field(
        default=10,
        metadata={
            "help": "Compare the policy gradients of the domains (metrics `interference/...`) every so many optimizer "
            "steps. 0: never. It changes nothing in the training."
        },
    )
    """Every so many optimizer steps the domains' policy gradients are compared; 0 is never. It changes no weight."""
    interference_layers: list[str] | None = field(
        default=None,
        metadata={
            "help": "Linear layers whose weights' gradients are compared, by the end of their names (`mlp.down_proj`, "
            "`layers.3.mlp.down_proj`). None: a matrix at the last hidden states, where the policy's gradient is alone."
        },
    )
    """None: the gradients are those of a matrix between the backbone and the LM head, through which the gradient of
    every weight passes. Names of linear layers: those of their weights (with LoRA of W itself, not of its factors); at
    layers below the contrastive term's `feature_layer` they hold the contrastive gradient too."""
    interference_sketch_dim: int = field(
        default=1024,
        metadata={
            "help": "Gradients wider or higher than this are compared by a random sketch of so many rows or columns."
        },
    )
    """Matrices with more rows or columns than this are sketched to so many; smaller ones are exact."""
