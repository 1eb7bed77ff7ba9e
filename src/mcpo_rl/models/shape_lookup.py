"""From a model's name to its shape, without loading a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcpo_rl.errors import ConfigError, ModelError, nearest
from mcpo_rl.models import BUILTIN_PREFIX, TINY, resolve_model
from mcpo_rl.models.known_shapes import KNOWN_SHAPES
from mcpo_rl.models.shapes import DecoderShape, read_shape

_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


def find_shape(name: str) -> tuple[DecoderShape, str]:
    """Return the shape of a model, and where it was read.

    Asked in this order: the bundled models, a directory, the local hub cache, the shipped table of published numbers,
    the hub.

    Args:
        name: As `resolve_model` takes it.

    Raises:
        ModelError: An unknown architecture, or a hub id that is neither cached nor in the table while the hub cannot be
            reached or does not give it.
    """
    if name == f"{BUILTIN_PREFIX}smollm2-135m":
        return KNOWN_SHAPES[_SMOLLM2], f"published numbers of {_SMOLLM2}"  # converting it would take half a gigabyte
    if name == f"{BUILTIN_PREFIX}tiny":
        return read_shape(TINY, name=name), str(TINY / "config.json")
    place = Path(resolve_model(name))
    if place.is_dir():
        return read_shape(place, name=name), str(place / "config.json")
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json") if name.count("/") == 1 else None
    if isinstance(cached, str):
        return read_shape(Path(cached).parent, name=name), "the local hub cache"
    if name in KNOWN_SHAPES:
        return KNOWN_SHAPES[name], "published numbers"
    try:
        fetched = hf_hub_download(name, "config.json")
    except (OSError, ValueError) as error:  # what the hub's client raises: no network, no such model, no access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the shape of {name} is not known here and its config.json cannot be had from the hub ({reason}). Give a "
            f"directory with its config.json as --model, or another hub id.{nearest(name, KNOWN_SHAPES)}"
        ) from error
    return read_shape(Path(fetched).parent, name=name), "the hub"


def lora_parameters(shape: DecoderShape, arguments: Mapping[str, Any] | None) -> int:
    """Return the parameters that LoRA trains: r (in + out) for each matrix that it stands beside.

    Args:
        shape: Of the model below.
        arguments: Of `peft.LoraConfig`; None is no LoRA, and 0.

    Raises:
        ConfigError: `target_modules` is a pattern, names modules that a decoder does not have, or reaches experts.

    Example:
        >>> from mcpo_rl.models.known_shapes import KNOWN_SHAPES
        >>> lora_parameters(KNOWN_SHAPES["Qwen/Qwen3-1.7B"], {"r": 16, "target_modules": "all-linear"})
        17432576
    """
    if arguments is None:
        return 0
    h, f, q, kv = shape.hidden, shape.intermediate, shape.query, shape.key_value
    widths = {"q_proj": h + q, "k_proj": h + kv, "v_proj": h + kv, "o_proj": q + h}
    if not shape.sparse_layers:  # PEFT has ways of its own with experts
        widths |= {"gate_proj": h + f, "up_proj": h + f, "down_proj": f + h}
    targets = arguments.get("target_modules") or ["q_proj", "v_proj"]  # PEFT's own choice for these families
    names = [*widths] if targets == "all-linear" else [targets] if isinstance(targets, str) else list(targets)
    unknown = [name for name in names if name not in widths]
    if unknown or (targets == "all-linear" and shape.sparse_layers):
        found = unknown[0] if unknown else "all-linear"
        raise ConfigError(
            f"`peft.target_modules` has {found!r}; for this model memory can be estimated for a list of "
            f"{', '.join(widths)}{'' if shape.sparse_layers else ', and for `all-linear`'}."
            f"{nearest(str(found), widths)}"
        )
    return int(arguments.get("r", 8)) * shape.layers * sum(widths[name] for name in names)
