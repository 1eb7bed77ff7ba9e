"""Where gradients are measured: a matrix A of the model whose gradient is a sum of outer products over the tokens.

Axes: B rollouts of a micro-batch, T tokens, in and out the widths of A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mcpo_rl.errors import ConfigError, ModelError, nearest
from mcpo_rl.trainers.trl.features.hidden_states import feature_width, find_backbone

LAST_HIDDEN_STATES = "the last hidden states"

_WRAPPERS = {"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "module"}
"""Parts that engines put into the names of modules."""


@dataclass(frozen=True)
class Point:
    """One matrix whose gradient is measured, d L / d A = sum_t d_t x_t^T.

    For a linear layer x_t is its input and d_t the gradient on its output. For the last hidden states H_t both are
    taken there, x_t = H_t and d_t = dL/dH_t: A is a matrix between the backbone and the LM head, H_t -> A H_t, which is
    the identity. The gradient of every weight below passes through the d_t, whatever the model is made of and however
    an engine shards it.
    """

    name: str
    inputs: int
    outputs: int

    @property
    def last(self) -> bool:
        """Whether it is the last hidden states."""
        return self.name == LAST_HIDDEN_STATES


def find_points(model: nn.Module, layers: Sequence[str] | None) -> list[Point]:
    """Return the points that `interference_layers` asks for.

    Args:
        model: the policy, unwrapped.
        layers: names of linear layers or ends of them (`mlp.down_proj`, `layers.3.mlp.down_proj`); None: the last
            hidden states.

    Raises:
        ConfigError: a name that no linear layer has.
        ModelError: no backbone below the LM head.
    """
    if layers is None:
        find_backbone(model)
        width = feature_width(model, -1)
        return [Point(LAST_HIDDEN_STATES, width, width)]
    linear = linear_layers(model)
    chosen: dict[str, None] = {}
    for asked in layers:
        found = [name for name in linear if name == asked or name.endswith("." + asked)]
        if not found:
            ends = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise ConfigError(
                f"interference_layers names {asked!r}, which is no linear layer below the LM head of this model; there "
                f"are {', '.join(ends)}, and each alone, such as {next(iter(linear), '-')!r}.{nearest(asked, ends)}"
            )
        chosen.update(dict.fromkeys(found))
    return [Point(name, *_widths(linear[name])) for name in chosen]


def modules_of(model: nn.Module, points: Sequence[Point]) -> list[nn.Module]:
    """Return the module of each point, in the model as the engine has it now."""
    if len(points) == 1 and points[0].last:
        return [find_backbone(model)]
    linear = linear_layers(model)
    return [linear[point.name] for point in points]


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers below the LM head by name; with LoRA the layer as a whole, not its parts.

    The LM head is none of them: TRL computes log-probabilities with its weights but does not call it.
    """
    head: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        name = ".".join(part for part in path.split(".") if part not in _WRAPPERS)
        parts = name.split(".")
        inside = any(".".join(parts[:depth]) in found for depth in range(1, len(parts)))  # LoRA's parts of a layer
        if module is not head and not inside and _is_linear(module):
            found[name] = module
    return found


def _is_linear(module: nn.Module) -> bool:
    return all(isinstance(width, int) for width in _widths(module)) and getattr(module, "weight", None) is not None


def _widths(module: nn.Module) -> tuple[Any, Any]:
    if hasattr(module, "nf") and hasattr(module, "nx"):  # GPT-2's own linear layer
        return module.nx, module.nf
    return getattr(module, "in_features", None), getattr(module, "out_features", None)


def check_input(point: Point, shape: Sequence[int], rollouts: int) -> None:
    """Refuse a layer that does not see whole rollouts.

    Raises:
        ModelError: its input has another shape than (B, T, in).
    """
    if len(shape) != 3 or shape[0] != rollouts:
        raise ModelError(
            f"interference_layers: {point.name} is given tensors of shape {tuple(shape)}; expected ({rollouts} "
            "rollouts, tokens, width), so that its gradient can be told apart by domain. Choose another layer, or "
            "leave interference_layers out."
        )
