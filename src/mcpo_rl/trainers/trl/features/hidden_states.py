"""Where hidden states are read: forward hooks on the policy's backbone, installed for one phase and removed after it.

Axes: B rows of a batch, T tokens of prompt and completion, C tokens of the completion, d model width.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.objective import pool_hidden_states

_UNWRAPPED: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()


def unwrapped(accelerator: Any, model: nn.Module) -> nn.Module:
    """Return accelerate's `unwrap_model`, remembered for each model.

    It reads the metadata of installed packages at each call: 1.5 ms, in every micro-batch.
    """
    known = _UNWRAPPED.get(model)
    inner: nn.Module | None = None if known is None else known()
    if inner is None:
        inner = accelerator.unwrap_model(model)
        assert inner is not None
        _UNWRAPPED[model] = weakref.ref(inner)
    return inner


def find_backbone(model: nn.Module) -> nn.Module:
    """Return the module whose output TRL's fused LM head scores: the decoder below the LM head.

    It is looked up as TRL's fused head looks it up on each call, below PEFT's wrapper where there is one.

    Raises:
        ModelError: the model has no backbone of its own.
    """
    causal_lm: Any = model.get_base_model() if is_peft(model) else model  # type: ignore[operator]
    backbone: nn.Module | None = getattr(causal_lm, "base_model", None)
    if backbone is None or backbone is causal_lm:
        raise ModelError(
            f"{type(causal_lm).__name__} has no backbone below its LM head, so its hidden states cannot be read. Use a "
            "causal language model of transformers, or contrastive_coef=0."
        )
    return backbone


def is_peft(model: nn.Module) -> bool:
    """Whether `model` is one of PEFT's wrappers (accelerate's test reads package metadata: milliseconds a call)."""
    return hasattr(model, "get_base_model") and hasattr(model, "peft_config")


def find_feature_module(model: nn.Module, layer: int) -> nn.Module:
    """Return the module whose output holds the features: the backbone (-1) or one decoder layer (0 to L-1).

    Raises:
        ConfigError: there is no such layer.
        ModelError: the decoder layers cannot be found.
    """
    backbone = find_backbone(model)
    if layer == -1:
        return backbone
    depth = getattr(getattr(backbone, "config", None), "num_hidden_layers", None)
    lists = [(name.count("."), part) for name, part in backbone.named_modules() if isinstance(part, nn.ModuleList)]
    # The outermost: within a layer there may be lists of the same length, of experts for instance.
    layers = next((part for _, part in sorted(lists, key=lambda found: found[0]) if len(part) == depth), None)
    if layers is None:
        raise ModelError(
            f"The decoder layers of {type(backbone).__name__} cannot be found, so feature_layer={layer} cannot be "
            "read. Use feature_layer=-1."
        )
    if layer >= len(layers):
        raise ConfigError(
            f"feature_layer is {layer}; expected -1 (the last hidden state) or 0 to {len(layers) - 1}: the model has "
            f"{len(layers)} decoder layers."
        )
    return layers[layer]


def feature_width(model: nn.Module, layer: int) -> int:
    """Return d, the width of the hidden states that `find_feature_module`'s module gives.

    It is the model's hidden size, but for a backbone that ends in a projection (OPT-350m): there it is the LM head's.
    """
    config: Any = model.config
    width = int(config.get_text_config().hidden_size)
    if layer != -1:
        return width
    head: Any = model.get_output_embeddings()  # type: ignore[operator]
    return int(getattr(head, "in_features", width))


def depends_on_width(model: nn.Module) -> bool:
    """Whether hidden states depend on how wide the batch is padded: rotary embeddings that change with its length.

    `longrope` (Phi-3.5, Phi-4-mini) and `dynamic` choose their frequencies by the longest row of a pass: a short
    rollout has other hidden states beside a long one than among short ones.
    """
    config: Any = model.config
    config = config.get_text_config()
    open_ends: list[Any] = [getattr(config, name, None) for name in ("rope_parameters", "rope_scaling")]
    while open_ends:
        settings = open_ends.pop()
        if not isinstance(settings, Mapping):
            continue
        if {settings.get("rope_type"), settings.get("type")} & {"dynamic", "longrope"}:
            return True
        open_ends.extend(settings.values())  # some models have one for each kind of layer
    return False


def active_dropout(model: nn.Module) -> float:
    """Return the largest dropout that the model trains with; 0.0 without any."""
    config: Any = model.config
    settings = {**config.get_text_config().to_dict()}
    in_config = [value for name, value in settings.items() if name in _DROPOUT_OF_ATTENTION]
    modules = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    return max([0.0, *(float(value) for value in (*in_config, *modules) if isinstance(value, (int, float)))])


_DROPOUT_OF_ATTENTION = ("attention_dropout", "attn_pdrop")
"""Settings that decoders apply without a module of their own."""


def hidden_of(output: Any) -> Tensor:
    """Return the (B, T, d) hidden states of a backbone's or decoder layer's output, whatever its form.

    Raises:
        ModelError: they have another form.
    """
    if isinstance(output, Tensor):
        if output.dim() != 3:
            raise ModelError(
                f"The module that the features are read from gives hidden states of shape {tuple(output.shape)}; "
                "expected (rows, tokens, width). Use feature_layer=-1."
            )
        return output
    if isinstance(output, tuple):
        return hidden_of(output[0])
    hidden: Tensor = output.last_hidden_state
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """Return `output` with `hidden` in the place of its hidden states."""
    if isinstance(output, Tensor):
        return hidden
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    output.last_hidden_state = hidden
    return output


class HiddenStateTap:
    """A hook on one module, in place between `with` and its end; `calls` counts how often the module ran.

    Args:
        module: from `find_feature_module`.
        on_hidden: takes the (B, T, d) hidden states of each call; what it returns (if not None) takes their place.
    """

    def __init__(self, module: nn.Module, on_hidden: Callable[[Tensor], Tensor | None]) -> None:
        self.calls = 0
        self._module, self._on_hidden = module, on_hidden
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> HiddenStateTap:
        self._handle = self._module.register_forward_hook(self._hook)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _hook(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        self.calls += 1
        replacement = self._on_hidden(hidden_of(output))
        return None if replacement is None else with_hidden(output, replacement)


class PooledPass:
    """Pools the hidden states of a no-grad pass that runs over the batch in consecutive chunks.

    Args:
        module: from `find_feature_module`.
        completion_mask: (B, C), from `TokenWeights`; the completion's tokens are the last C of each row.
        pooling: `mean`, `last` or `lines`.
    """

    def __init__(self, module: nn.Module, completion_mask: Tensor, pooling: str) -> None:
        self._mask, self._pooling = completion_mask, pooling
        self._chunks: list[Tensor] = []
        self.tap = HiddenStateTap(module, self._pool)

    def _pool(self, hidden: Tensor) -> None:
        start = sum(len(chunk) for chunk in self._chunks)
        self._chunks.append(pool_completion(hidden, self._mask[start : start + len(hidden)], self._pooling).detach())

    def features(self) -> Tensor:
        """Return h (B, d).

        Raises:
            RuntimeError: the pass did not go through the module once for each chunk of rows.
        """
        rows = sum(len(chunk) for chunk in self._chunks)
        if rows != len(self._mask):
            raise RuntimeError(
                f"Hidden states of {rows} rollouts were read where {len(self._mask)} were expected: the model's "
                "forward pass no longer goes through the module that the features are read from. This version of TRL, "
                "transformers or PEFT calls the model in another way; contrastive_coef=0 trains without the "
                "contrastive term."
            )
        return torch.cat(self._chunks)


def pool_completion(hidden: Tensor, completion_mask: Tensor, pooling: str) -> Tensor:
    """Pool the last C of T positions: `hidden` (B, T, d), `completion_mask` (B, C) -> h (B, d), differentiable."""
    completion = hidden[:, -completion_mask.shape[1] :]
    how = "weighted" if pooling == "lines" else pooling  # by what `TokenWeights` made of the mask
    return pool_hidden_states(completion, completion_mask, how)  # type: ignore[arg-type]  # checked in MCPOConfig


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run a pass that leaves no trace: no gradient, no dropout (so no random numbers), no gradient checkpointing."""
    was_training = model.training
    model.eval()  # checkpointing and dropout are both asleep in evaluation mode
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def chunks_by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Split rows into chunks of `size`, rows of similar length together, so that little padding is computed."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]
