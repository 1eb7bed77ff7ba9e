"""Weights on disk, read one tensor at a time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mcpo_rl.errors import ModelError
from mcpo_rl.models import resolve_model
from mcpo_rl.models.lora import lora_config_file, merged

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
BESIDE = ("*.json", "*.jinja", "*.model", "*.txt", "*.py", "chat_templates/*")
"""Files of a model beside its weights."""
_NOT_OF_A_MODEL = (INDEX, "manifest.json", "trainer_state.json", "merge.json", "adapter_config.json")


class Checkpoint:
    """The safetensors files of one model.

    Args:
        path: its directory.
        name: as the user knows it.

    Raises:
        ModelError: there are no such files, or one is missing or damaged.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.beside = path
        """Where its tokenizer lies: for a LoRA not where its merged weights were written."""
        self._open: dict[Path, Any] = {}
        index = path / INDEX
        if index.is_file():
            weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            self._files = {tensor: path / file for tensor, file in weight_map.items()}
        elif (path / WHOLE).is_file():
            self._files = dict.fromkeys(self._handle(path / WHOLE).keys(), path / WHOLE)
        else:
            raise ModelError(f"{name} has no weights: {path} holds neither {WHOLE} nor {INDEX}.")
        for file in dict.fromkeys(self._files.values()):
            self._handle(file)

    @property
    def tensors(self) -> list[str]:
        """The names of the tensors, in the order of the files."""
        return list(self._files)

    def leave_out_copies(self, tied: Mapping[str, str]) -> None:
        """Forget the tensors that are copies of others, as `tied` says; what is none is kept."""
        pairs = [(name, tied[name]) for name in self._files if tied.get(name) in self._files]
        for name, first in pairs:
            if torch.equal(self.read(name), self.read(first)):
                del self._files[name]

    def read(self, name: str) -> Tensor:
        """Return one tensor, on the CPU."""
        tensor: Tensor = self._handle(self._files[name]).get_tensor(name)
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one tensor, without reading it."""
        return tuple(self._handle(self._files[name]).get_slice(name).get_shape())

    def nbytes(self, name: str) -> int:
        """Return the bytes of one tensor on disk, without reading it."""
        bits = re.search(r"\d+", str(self._handle(self._files[name]).get_slice(name).get_dtype()))
        return math.prod(self.shape(name)) * (int(bits.group()) // 8 if bits else 1)

    def _handle(self, file: Path) -> Any:
        if file not in self._open:
            try:
                self._open[file] = safe_open(str(file), framework="pt")  # type: ignore[no-untyped-call]
            except FileNotFoundError as error:
                raise ModelError(f"{self.name} is incomplete: {file} does not exist.") from error
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{self.name} cannot be read: {file} is damaged ({error}).") from error
        return self._open[file]


def open_checkpoint(name: str, base: str, scratch: Path) -> Checkpoint:
    """Return the weights of a model by name, whole and in safetensors files.

    Args:
        name: a hub id, a directory, a builtin model, or a LoRA in a directory or on the hub.
        base: the model that a LoRA is put on.
        scratch: where a LoRA merged into its base is written, in float32, and weights of another format.

    Raises:
        ModelError: it cannot be found or read.
        MissingDependencyError: a LoRA, and peft is not installed.
    """
    if lora_config_file(name) is not None:
        whole = merged(_load(base, torch.float32), name)
        whole.save_pretrained(scratch)
        checkpoint = Checkpoint(scratch, name)
        if Path(name).is_dir():
            checkpoint.beside = Path(name)
        return checkpoint
    path = _local(name)
    if (path / INDEX).is_file() or (path / WHOLE).is_file():
        return Checkpoint(path, name)
    return resaved(path, name, scratch)


def resaved(path: Path, name: str, scratch: Path) -> Checkpoint:
    """Return a model as transformers saves it today: other formats, and names of older versions, become its own."""
    _load(str(path), "auto").save_pretrained(scratch)
    return Checkpoint(scratch, name)


def align(base: Checkpoint, specialists: Sequence[Checkpoint], scratch: Path) -> Checkpoint:
    """Return the base with the specialists' names of tensors, and check that all have the same.

    Tied weights are stored once, under whichever of their names: the copies are left out everywhere.

    Raises:
        ModelError: tensors are missing or of another shape: this is not the base that they were trained from.
    """
    tied = _tied(base)
    for checkpoint in (base, *specialists):
        checkpoint.leave_out_copies(tied)
    if any(set(base.tensors) != set(specialist.tensors) for specialist in specialists):
        base = resaved(base.path, base.name, scratch)
        base.leave_out_copies(tied)
    for specialist in specialists:
        for verb, odd in (
            ("lacks", sorted(set(base.tensors) - set(specialist.tensors))),
            ("also has", sorted(set(specialist.tensors) - set(base.tensors))),
        ):
            if odd:
                raise ModelError(
                    f"{specialist.name} was not trained from {base.name}: it {verb} {odd[0]}"
                    f"{f' and {len(odd) - 1} more' if len(odd) > 1 else ''}. Give the base that all were trained from."
                )
        for tensor in base.tensors:
            if specialist.shape(tensor) != base.shape(tensor):
                raise ModelError(
                    f"{specialist.name} was not trained from {base.name}: {tensor} is {specialist.shape(tensor)}, the "
                    f"base's is {base.shape(tensor)}. Give the base that all were trained from."
                )
    return base


def files_beside(path: Path) -> list[Path]:
    """Return a model's files beside its weights: configuration, tokenizer, chat template, code."""
    found = {file for pattern in BESIDE for file in path.glob(pattern) if file.is_file()}
    return sorted(file for file in found if file.name not in _NOT_OF_A_MODEL and not file.name.endswith(".index.json"))


def _tied(base: Checkpoint) -> dict[str, str]:
    """Return the names under which tied weights may be stored a second time, each with its first.

    Raises:
        ModelError: the model is quantized, or its configuration cannot be loaded.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(base.path)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise ModelError(f"the configuration of {base.name} could not be loaded: {_first_line(error)}") from error
    if getattr(config, "quantization_config", None):
        raise ModelError(f"{base.name} is quantized: its weights cannot be added up. Give the model in full precision.")
    return dict(model.all_tied_weights_keys)


def _local(name: str) -> Path:
    source = resolve_model(name)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=["*.safetensors", *BESIDE]))
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r} could not be found: {_first_line(error)}") from error


def _load(name: str, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype=dtype)
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r} could not be loaded: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
