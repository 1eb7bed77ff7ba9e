"""The probe of a run: fixed rollouts, and what the policy's hidden states make of them at each checkpoint.

    <run>/probe/
      set.parquet            the rollouts: prompts and completions with verdicts, the same for every checkpoint
      step_000020.parquet    their pooled hidden states at optimizer step 20, row by row
      geometry.json          what was measured of them, by step; computed anew where it is missing

The rollouts stay and the weights change: what moves between two steps is the model and not the sample. Axes: N rollouts
of the set, d width of the hidden states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import encodable, replacing, write_text
from mcpo_rl.types import Message

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]

FOLDER = "probe"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """The fixed rollouts. Each list has N entries.

    Raises:
        RunError: The lists differ in length.
    """

    prompts: list[list[Message] | str]
    """Chat messages or plain text."""
    completions: list[str]
    """Special tokens removed."""
    domains: list[str]
    keys: list[str]
    """What tells problems apart: rollouts of one problem share it."""
    verdicts: list[str]
    """`correct` or `incorrect`."""
    truncated: list[bool]
    """Cut at the token limit, so that no end token follows."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the chat template with which the prompts were put to the model, and are again."""
    origin: str = ""
    """Whose completions these are: a model, or the file that they were read from."""

    def __post_init__(self) -> None:
        for name in ("prompts", "domains", "keys", "verdicts", "truncated"):
            if len(getattr(self, name)) != len(self):
                raise RunError(
                    f"ProbeSet.{name} has {len(getattr(self, name))} rows, but there are {len(self)} completions."
                )

    def __len__(self) -> int:
        return len(self.completions)

    @cached_property
    def fingerprint(self) -> str:
        """A hash over all that decides the hidden states: states of another set cannot be taken for states of this."""
        rows = [self.prompts, self.completions, self.truncated, self.chat_template_kwargs]
        text = json.dumps(rows, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(encodable(text).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ProbeState:
    """The hidden states of the set at one step."""

    step: int
    """Optimizer steps done; 0 is the model that training starts from."""
    features: Float32Array
    """(N, d) float32: pooled over the completion's tokens; row i belongs to rollout i of the set."""
    fingerprint: str
    """Of the set."""
    layer: int = -1
    """Where they were read: as `feature_layer` of the trainer."""
    pooling: str = "mean"
    """As `feature_pooling` of the trainer."""


class ProbeDirectory:
    """The folder `probe/` of a run (or another one of this form).

    Example:
        >>> probe = ProbeDirectory("runs/mcpo/probe")
        >>> states = {step: probe.read_state(step).features for step in probe.steps()}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.set_file = self.path / "set.parquet"
        self.geometry_file = self.path / "geometry.json"

    def exists(self) -> bool:
        """Whether there is a set."""
        return self.set_file.is_file()

    def steps(self) -> list[int]:
        """Return the steps whose states were recorded, ascending."""
        return [step for step, _ in self._state_files()]

    def write_set(self, probe_set: ProbeSet) -> None:
        """Write the set. States of another set are removed: they belong to rollouts that are no longer there.

        Raises:
            RunError: The file could not be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not (self.exists() and self.read_set().fingerprint == probe_set.fingerprint):
            self.forget_after(-1)
        prompts = [encodable(json.dumps(prompt, ensure_ascii=False)) for prompt in probe_set.prompts]
        table = pa.table(
            {
                "prompt": pa.array(prompts, pa.string()),
                "completion": pa.array([encodable(text) for text in probe_set.completions], pa.string()),
                "domain": pa.array(probe_set.domains, pa.string()),
                "key": pa.array(probe_set.keys, pa.string()),
                "status": pa.array(probe_set.verdicts, pa.string()),
                "truncated": pa.array([bool(flag) for flag in probe_set.truncated], pa.bool_()),
            }
        )
        facts = {"chat_template_kwargs": probe_set.chat_template_kwargs, "origin": probe_set.origin}
        with replacing(self.set_file) as temporary:
            pq.write_table(_with_facts(table, facts), temporary, compression="zstd")

    def read_set(self) -> ProbeSet:
        """Return the set.

        Raises:
            RunError: There is none, or the file is damaged.
        """
        if not self.exists():
            raise RunError(f"{self.path} holds no probe set; `mcpo-rl probe RUN` makes one.")
        table, facts = _read(self.set_file)
        columns = {name: _column(table, name, self.set_file) for name in _COLUMNS}
        return ProbeSet(
            prompts=[json.loads(text) for text in columns["prompt"]],
            completions=columns["completion"],
            domains=columns["domain"],
            keys=columns["key"],
            verdicts=columns["status"],
            truncated=columns["truncated"],
            chat_template_kwargs=facts.get("chat_template_kwargs", {}),
            origin=facts.get("origin", ""),
        )

    def write_state(self, state: ProbeState) -> Path:
        """Write `state` to its file, in place of an earlier one of that step; return the path.

        Raises:
            RunError: The file could not be written; nothing of it stays behind.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._state_file(state.step)
        features = np.ascontiguousarray(state.features, dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
        facts = {"set": state.fingerprint, "step": state.step, "layer": state.layer, "pooling": state.pooling}
        with replacing(path) as temporary:
            pq.write_table(_with_facts(pa.table({"features": column}), facts), temporary, compression="zstd")
        return path

    def read_state(self, step: int) -> ProbeState:
        """Return the states of one step.

        Raises:
            RunError: They were not recorded, or the file is damaged.
        """
        import numpy as np

        path = self._state_file(step)
        if not path.is_file():
            recorded = ", ".join(map(str, self.steps())) or "none"
            raise RunError(f"{self.path} has no states of step {step}; steps recorded: {recorded}.")
        table, facts = _read(path)
        if "features" not in table.column_names or not {"set", "layer", "pooling"} <= facts.keys():
            raise RunError(f"{path} cannot be read as the states of a probe: parts of it are missing.")
        column = table.column("features").combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return ProbeState(
            step=step,
            features=values.reshape(table.num_rows, column.type.list_size),
            fingerprint=facts["set"],
            layer=facts["layer"],
            pooling=facts["pooling"],
        )

    def forget_after(self, step: int) -> None:
        """Remove the states of later steps, which a run resumed at `step` records anew, and all that was measured."""
        later = [path for number, path in self._state_files() if number > step]
        for path in later:
            path.unlink()
        if later:
            self.geometry_file.unlink(missing_ok=True)

    def write_geometry(self, step: int, fingerprint: str, formulas: int, measured: Mapping[str, float]) -> None:
        """Keep what was measured of one step beside what is kept of others.

        Args:
            step: Whose states were measured.
            fingerprint: Of the set.
            formulas: The version of the measures; numbers of another version are dropped.
            measured: By name.

        Raises:
            RunError: The file could not be written.
        """
        kept = self.read_geometry(fingerprint, formulas) | {step: dict(measured)}
        steps = {str(number): kept[number] for number in sorted(kept)}
        content = {"format": FORMAT, "set": fingerprint, "formulas": formulas, "steps": steps}
        write_text(self.geometry_file, json.dumps(content, indent=1) + "\n")

    def read_geometry(self, fingerprint: str, formulas: int) -> dict[int, dict[str, float]]:
        """Return what was kept of each step; nothing where it is of another set or version, or damaged."""
        if not self.geometry_file.is_file():
            return {}
        try:
            content = json.loads(self.geometry_file.read_text(encoding="utf-8"))
            if (content["set"], content["formulas"]) != (fingerprint, formulas):
                return {}
            return {int(step): dict(measured) for step, measured in content["steps"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # only a cache: the states tell the same

    def _state_file(self, step: int) -> Path:
        return self.path / f"step_{step:06d}.parquet"

    def _state_files(self) -> list[tuple[int, Path]]:
        found = [(path.stem.removeprefix("step_"), path) for path in self.path.glob("step_*.parquet")]
        return sorted((int(number), path) for number, path in found if number.isdigit())


_COLUMNS: Sequence[str] = ("prompt", "completion", "domain", "key", "status", "truncated")
_FACTS = b"mcpo_rl"


def _with_facts(table: Any, facts: dict[str, Any]) -> Any:
    return table.replace_schema_metadata({_FACTS: json.dumps({"format": FORMAT, **facts}).encode()})


def _read(path: Path) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Read as a file: a folder of that name beside it would be taken for a partitioned set.
        table = pq.ParquetFile(path).read()
        facts = json.loads((table.schema.metadata or {}).get(_FACTS, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as part of a probe ({error}).") from error
    return table, facts


def _column(table: Any, name: str, path: Path) -> list[Any]:
    if name not in table.column_names:
        raise RunError(f"{path} cannot be read as a probe set: it has no column `{name}`.")
    values: list[Any] = table.column(name).to_pylist()
    return values
