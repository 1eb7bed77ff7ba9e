"""Merging: one pass over the tensors, with TIES two more before it for its thresholds.

Axes: S specialists, E elements of a stretch.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mcpo_rl.errors import ConfigError, ModelError, RunError
from mcpo_rl.models.merging.checkpoints import INDEX, WHOLE, Checkpoint, align, files_beside, open_checkpoint
from mcpo_rl.models.merging.forms import MergeOptions, combined, dropped, trimmed
from mcpo_rl.models.merging.magnitudes import kth_largest_magnitudes

STRETCH = 1 << 22
"""Elements that are worked on at a time: the arithmetic's memory does not grow with the tensors."""
SHARD_BYTES = 5 * 10**9

Progress = Callable[[int, int], None]
"""Told how many tensors are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What was merged, and how the deltas lie to each other. Also in the model's directory, as `merge.json`."""

    base: str
    models: list[str]
    options: dict[str, Any]
    parameters: int
    """Of the model; tied ones once."""
    norms: list[float]
    """|| d_i ||, of each model."""
    cosines: list[list[float]]
    """(S, S): cos(d_i, d_j) before anything is trimmed or dropped; 0 where one of them is 0."""
    kept: list[float]
    """The share of each delta that is neither 0 nor was trimmed or dropped."""
    sign_conflict: float
    """The share of weights where two of the kept deltas have opposite signs."""


def merge_models(
    base: str,
    models: Sequence[str],
    output: Path,
    options: MergeOptions | None = None,
    *,
    progress: Progress | None = None,
) -> MergeReport:
    """Write the merged model to `output`, whole or not at all: weights, configuration, tokenizer, `merge.json`.

    The weights have the type that the models' have, tensor by tensor. Configuration and tokenizer are the first
    model's; what it has none of is the base's.

    Args:
        base: what all were trained from: a hub id, a directory or a builtin model.
        models: two or more of the same, or LoRA of the base.
        output: a directory that does not exist or is empty.
        options: how; None averages.
        progress: told after each tensor.

    Raises:
        ConfigError: fewer than two models, or options that do not fit them.
        ModelError: a model that cannot be read, was not trained from `base`, or holds NaN or infinite weights.
        RunError: `output` is not empty or cannot be written.

    Example:
        >>> merge_models("Qwen/Qwen3-0.6B", ["runs/math/model", "runs/code/model"], Path("both"))  # doctest: +SKIP
    """
    options = options or MergeOptions()
    if len(models) < 2:
        raise ConfigError(f"merging takes two models or more; {len(models)} given.")
    options.coefficients(len(models))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output} is not empty. Give another directory.")
    scratch: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        specialists = [open_checkpoint(name, base, scratch / f"model-{i}") for i, name in enumerate(models)]
        whole = align(open_checkpoint(base, base, scratch / "base"), specialists, scratch / "base-as-saved")
        target = scratch / "merged"
        target.mkdir()
        merging = _Merging(whole, specialists, options, progress)
        merging.write(target)
        report = merging.report(base, models)
        _write_beside(target, whole, specialists[0], merging.dtype)
        (target / "merge.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        if output.exists():
            output.rmdir()
        target.rename(output)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(
            f"cannot write {output}: {reason}. Nothing of it is left; give a place with more room."
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return report


class _Merging:
    def __init__(
        self, base: Checkpoint, specialists: Sequence[Checkpoint], options: MergeOptions, progress: Progress | None
    ) -> None:
        self._base, self._specialists, self._options = base, specialists, options
        self._coefficients = options.coefficients(len(specialists))
        self._passes = 3 if options.trims else 1
        self._progress, self._done = progress, 0
        self._gram = torch.zeros(len(specialists), len(specialists), dtype=torch.float64)
        self._kept = torch.zeros(len(specialists), dtype=torch.int64)
        self._elements = self._conflicts = 0
        self.dtype = torch.float32
        """Of the largest tensor of the merged model."""
        self._thresholds: Tensor | None = None

    def write(self, target: Path) -> None:
        """Write the shards and their index."""
        if self._options.trims:
            share = self._options.density_in_use
            self._thresholds = kth_largest_magnitudes(
                len(self._specialists), self._all_deltas, lambda elements: max(1, round(share * elements))
            )
        shards = self._shards()
        names = [WHOLE] if len(shards) == 1 else [_shard_name(i + 1, len(shards)) for i in range(len(shards))]
        weight_map: dict[str, str] = {}
        written = largest = 0
        for file, tensors in zip(names, shards, strict=True):
            merged = {name: self._merged(name) for name in tensors}
            save_file(merged, str(target / file), metadata={"format": "pt"})
            weight_map |= dict.fromkeys(tensors, file)
            written += sum(tensor.nbytes for tensor in merged.values())
            for tensor in merged.values():
                if tensor.numel() > largest and tensor.is_floating_point():
                    largest, self.dtype = tensor.numel(), tensor.dtype
        if len(shards) > 1:
            index = {"metadata": {"total_size": written}, "weight_map": weight_map}
            (target / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def report(self, base: str, models: Sequence[str]) -> MergeReport:
        norms = self._gram.diagonal().sqrt()
        scale = norms[:, None] * norms
        cosines = torch.where(scale > 0, self._gram / scale.masked_fill(scale == 0, 1), 0.0)
        elements = max(self._elements, 1)
        return MergeReport(
            base=base,
            models=list(models),
            options=asdict(self._options) | {"density": self._options.density_in_use},
            parameters=sum(math.prod(self._base.shape(name)) for name in self._base.tensors),
            norms=norms.tolist(),
            cosines=cosines.tolist(),
            kept=(self._kept / elements).tolist(),
            sign_conflict=self._conflicts / elements,
        )

    def _merged(self, name: str) -> Tensor:
        base, *own = [checkpoint.read(name) for checkpoint in (self._base, *self._specialists)]
        self._tick()
        if not base.is_floating_point():
            if any(not torch.equal(base, tensor) for tensor in own):
                raise ModelError(f"{name} holds whole numbers that are not the same in all models: nothing to average.")
            return base
        dtype = own[0].dtype
        for tensor in own:
            dtype = torch.promote_types(dtype, tensor.dtype)
        merged = torch.empty(base.shape, dtype=dtype)
        flat, generators = merged.view(-1), self._generators(name)
        start = 0
        for origin, deltas in self._stretches(name, base, own):
            end = start + len(origin)
            self._measure(deltas)
            kept = self._chosen(deltas, generators)
            self._count(kept)
            change = combined(kept, self._coefficients, self._options.form)
            flat[start:end] = (origin + self._options.scale * change).to(dtype)
            start = end
        return merged

    def _chosen(self, deltas: Tensor, generators: list[torch.Generator]) -> Tensor:
        if self._thresholds is not None:
            return trimmed(deltas, self._thresholds)
        if self._options.drops:
            return dropped(deltas, self._options.density_in_use, generators)
        return deltas

    def _all_deltas(self) -> Iterator[Tensor]:
        """Yield all deltas as pieces (S, E)."""
        for name in self._base.tensors:
            base, *own = [checkpoint.read(name) for checkpoint in (self._base, *self._specialists)]
            if base.is_floating_point():
                yield from (deltas for _, deltas in self._stretches(name, base, own))
            self._tick()

    def _stretches(self, name: str, base: Tensor, own: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield stretches of a tensor: the base's weights (E,) and the deltas (S, E), in float32 or float64."""
        dtype = torch.float64 if torch.float64 in {tensor.dtype for tensor in (base, *own)} else torch.float32
        flat = [tensor.reshape(-1) for tensor in (base, *own)]
        for start in range(0, base.numel(), STRETCH):
            origin, *others = [tensor[start : start + STRETCH].to(dtype) for tensor in flat]
            deltas = torch.stack([other - origin for other in others])
            if not bool(deltas.isfinite().all()):
                odd = (~deltas.isfinite().all(dim=1)).nonzero().flatten().tolist()
                raise ModelError(
                    f"{self._specialists[odd[0]].name} (or the base) holds NaN or infinite weights in {name}: that "
                    "training broke down, so there is nothing to merge."
                )
            yield origin, deltas

    def _measure(self, deltas: Tensor) -> None:
        self._gram += (deltas @ deltas.T).double()
        self._elements += deltas.shape[1]

    def _count(self, kept: Tensor) -> None:
        self._kept += (kept != 0).sum(dim=1)
        self._conflicts += int(((kept > 0).any(dim=0) & (kept < 0).any(dim=0)).sum())

    def _generators(self, name: str) -> list[torch.Generator]:
        """Return one for each specialist, by the tensor's name: what is dropped does not depend on the shards."""
        if not self._options.drops:
            return []
        seeds = [f"{self._options.seed}/{place}/{name}" for place in range(len(self._specialists))]
        digests = [hashlib.blake2b(seed.encode(), digest_size=8).digest() for seed in seeds]
        return [torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1) for digest in digests]

    def _shards(self) -> list[list[str]]:
        """Return the names of the tensors of each shard."""
        shards: list[list[str]] = [[]]
        filled = 0
        for name in self._base.tensors:
            size = max(specialist.nbytes(name) for specialist in self._specialists)
            if shards[-1] and filled + size > SHARD_BYTES:
                shards.append([])
                filled = 0
            shards[-1].append(name)
            filled += size
        return shards

    def _tick(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._passes * len(self._base.tensors))


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def _write_beside(target: Path, base: Checkpoint, first: Checkpoint, dtype: torch.dtype) -> None:
    """Copy the base's files beside the weights, and over them the first model's own; set the weights' type."""
    for source in dict.fromkeys((base.path, first.path, first.beside)):
        for file in files_beside(source):
            place = target / file.relative_to(source)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)
    config: Mapping[str, Any] = json.loads((target / "config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in ("torch_dtype", "dtype")}
    settings = kept | {"dtype": str(dtype).removeprefix("torch.")}
    (target / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
