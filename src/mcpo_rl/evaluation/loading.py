"""From a model's name to a generator: which engine, on what device, in which type."""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mcpo_rl.errors import ConfigError
from mcpo_rl.evaluation.generators import Generator
from mcpo_rl.evaluation.prompts import PromptFormat
from mcpo_rl.models import BUILTIN_PREFIX, load_model_and_tokenizer, load_tokenizer, resolve_model
from mcpo_rl.models.lora import lora_config_file

if TYPE_CHECKING:
    from mcpo_rl.evaluation.vllm_generation import VLLMGenerator

BATCH_SIZE = 64
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "generation_config.json", "adapter_config.json")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How a model is loaded for an evaluation.

    Raises:
        ConfigError: Values that cannot work; the message names them.
    """

    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """`auto` is vLLM where it is installed and there is a GPU, except for builtin models; else transformers."""
    device: str | None = None
    """For transformers: `cpu`, `cuda`, `cuda:1`, ..., or `auto` to spread a model over all GPUs; None: the first GPU
    where there is one."""
    dtype: str = "auto"
    """The weights' type: `float32`, `bfloat16`, `float16`; `auto` is as they were saved, but float32 on a CPU."""
    batch_size: int | None = None
    """Completions generated at once; None: 64 with transformers, waves of 1024 with vLLM, which batches by itself."""
    tensor_parallel_size: int = 1
    """For vLLM: GPUs that the model is split over."""
    gpu_memory_utilization: float = 0.9
    """For vLLM: share of a GPU's memory that it may take."""
    max_model_len: int | None = None
    """For vLLM: longest prompt and completion together; None takes the model's own limit."""
    base: str | None = None
    """The base model of a LoRA; None takes the one that the LoRA names."""
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    """How messages become tokens."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.engine not in ("auto", "transformers", "vllm"):
            raise ConfigError(f"the engine is `auto`, `transformers` or `vllm`, not {self.engine!r}.")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"`batch_size` must be at least 1, not {self.batch_size}.")
        if self.tensor_parallel_size < 1:
            raise ConfigError(f"`tensor_parallel_size` must be at least 1, not {self.tensor_parallel_size}.")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ConfigError(f"`gpu_memory_utilization` must be in (0, 1], not {self.gpu_memory_utilization}.")


def load_generator(name: str, options: EngineOptions | None = None) -> Generator:
    """Load a model and return what `evaluate_with` takes.

    Args:
        name: A hub id, a directory (a model, a checkpoint, a LoRA), `builtin:tiny` or `builtin:smollm2-135m`.
        options: How; None: the defaults.

    Raises:
        ModelError: The model or its tokenizer cannot be loaded, or has no chat template where one is needed.
        MissingDependencyError: vLLM is asked for, or the model is a LoRA, and the package is not installed.
        ConfigError: The device does not exist.

    Example:
        >>> load_generator("builtin:tiny").settings["engine"]
        'transformers'
    """
    options = options or EngineOptions()
    generator = (
        _with_vllm(name, options) if chosen_engine(name, options) == "vllm" else _with_transformers(name, options)
    )
    if print_of_weights := weights_fingerprint(name):
        generator.settings["weights"] = print_of_weights
    return generator


def weights_fingerprint(name: str) -> str:
    """Return what tells the weights in a directory from others written there later; '' where `name` is no directory.

    A hash over the names, sizes and times of change of the files: the weights themselves are not read.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        return ""
    files = sorted({file for pattern in _WEIGHTS for file in path.glob(pattern)})
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def chosen_engine(name: str, options: EngineOptions) -> str:
    """Return the engine that `auto` stands for, or the one that is asked for."""
    if options.engine != "auto":
        return options.engine
    if name.startswith(BUILTIN_PREFIX) or options.device is not None or importlib.util.find_spec("vllm") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"


def _with_transformers(name: str, options: EngineOptions) -> Generator:
    import torch

    from mcpo_rl.evaluation.generation import TransformersGenerator

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    _check_device(device)
    on_cpu = device == "cpu"
    dtype = "float32" if options.dtype == "auto" and on_cpu else options.dtype
    model, tokenizer = load_model_and_tokenizer(
        name, dtype=dtype, base=options.base, chat=options.prompt_format.form == "chat"
    )
    if device == "auto":
        from accelerate import dispatch_model, infer_auto_device_map

        split = getattr(model, "_no_split_modules", None)
        model = dispatch_model(model, infer_auto_device_map(model, no_split_module_classes=split))
    elif not on_cpu:
        try:
            model.to(device)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"{name} does not fit into the memory of {device}. Give --dtype bfloat16, or --device auto to spread "
                "it over all GPUs."
            ) from error
    batch_size = options.batch_size or BATCH_SIZE
    return TransformersGenerator(
        model, tokenizer, batch_size=batch_size, prompt_format=options.prompt_format, name=name
    )


def _with_vllm(name: str, options: EngineOptions) -> VLLMGenerator:
    from mcpo_rl.evaluation.vllm_generation import WAVE, VLLMGenerator

    chat = options.prompt_format.form == "chat"
    with tempfile.TemporaryDirectory(prefix="mcpo-rl-merged-") as scratch:
        if lora_config_file(name) is None:
            path, tokenizer = resolve_model(name), load_tokenizer(name, chat=chat)
        else:  # vLLM would serve a LoRA slower than the merged weights, and not every kind of it
            model, tokenizer = load_model_and_tokenizer(name, dtype=options.dtype, base=options.base, chat=chat)
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            path = scratch
        return VLLMGenerator(
            path,
            tokenizer,
            wave=options.batch_size or WAVE,
            prompt_format=options.prompt_format,
            dtype=options.dtype,
            tensor_parallel_size=options.tensor_parallel_size,
            gpu_memory_utilization=options.gpu_memory_utilization,
            max_model_len=options.max_model_len,
            name=name,
        )


def _check_device(device: str) -> None:
    import torch

    kind, _, number = device.partition(":")
    gpus = torch.cuda.device_count()
    if kind not in ("cpu", "cuda", "auto", "mps") or (number and not number.isdigit()):
        raise ConfigError(f"the device is `cpu`, `cuda`, `cuda:N` or `auto`, not {device!r}.")
    if (kind in ("cuda", "auto") and not gpus) or (number and kind == "cuda" and int(number) >= gpus):
        raise ConfigError(f"there is no device {device}: this machine has {gpus} GPU(s) that torch can use.")
