"""The rollouts of one step, in memory and as one Parquet file.

Axes: N rollouts of the step (all prompts, all ranks), d width of the pooled hidden state, m width of the head's output.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import RunError
from mcpo_rl.runs.files import encodable
from mcpo_rl.types import Message

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Float32Array = npt.NDArray[np.float32]


_REQUIRED = (
    "prompts",
    "domains",
    "prompt_ids",
    "rewards",
    "correct",
    "usable",
    "verdicts",
    "positives",
    "positive_scores",
)
_OPTIONAL = ("answers", "details", "tokens", "truncated")
"""Columns that older runs lack and that may be left out."""
_TERM = b"mcpo_rl.term"


@dataclass(frozen=True, kw_only=True)
class RolloutBatch:
    """Every rollout of one training step. Plain Python and NumPy: readers need no torch.

    Raises:
        RunError: The columns differ in length, or the representations are not N rows of numbers.
    """

    step: int
    """The optimizer step at which these rollouts were generated (the weights are those before the step's update)."""
    prompts: list[list[Message] | str]
    """N prompts, chat messages or plain text; rollouts of one prompt repeat it."""
    completions: list[str]
    """N completions, special tokens removed."""
    domains: list[str]
    """N domain names."""
    prompt_ids: list[int]
    """N integers: rollouts with the same number belong to the same prompt."""
    rewards: list[float | None]
    """N rewards; None where the verifier failed."""
    correct: list[bool]
    """N flags: the reward reached the threshold."""
    usable: list[bool]
    """N flags: scored and not truncated away, so the contrastive term may use it."""
    verdicts: list[str] = field(default_factory=list)
    """N verdict statuses (`correct`, `incorrect`, `error`); '' where unknown. Empty: all unknown."""
    features: Float32Array | None = None
    """(N, d) float32: pooled hidden states of the policy; None when not computed."""
    embeddings: Float32Array | None = None
    """(N, m) float32: outputs of the contrastive head, L2-normalized; None when there is no head."""
    positives: list[list[int]] = field(default_factory=list)
    """N lists: row numbers of the cross-domain positives chosen for each rollout. Empty: none were chosen."""
    positive_scores: list[list[float]] = field(default_factory=list)
    """N lists: the transferability t_ij of each of `positives`, in their order; empty lists where it was not kept."""
    answers: list[str] = field(default_factory=list)
    """N answers as the verifier read them; '' where it read none. Empty: not kept."""
    details: list[str] = field(default_factory=list)
    """N remarks of the verifier on its verdict; '' where it had none. Empty: not kept."""
    tokens: list[int] = field(default_factory=list)
    """N lengths of the completions in tokens. Empty: not kept."""
    truncated: list[bool] = field(default_factory=list)
    """N flags: cut off at the limit. Empty: not kept."""
    term: dict[str, Any] = field(default_factory=dict)
    """The settings by which the contrastive term chose and weighed its pairs (`temperature`, `negatives`, ...: the
    fields of `ContrastiveConfig`); empty where the term was off or the settings were not kept."""

    def __post_init__(self) -> None:
        count = len(self.completions)
        if not self.verdicts:
            object.__setattr__(self, "verdicts", [""] * count)
        for name in ("positives", "positive_scores"):
            if not getattr(self, name):
                object.__setattr__(self, name, [[] for _ in range(count)])
        for name in (*_REQUIRED, *(name for name in _OPTIONAL if getattr(self, name))):
            if len(getattr(self, name)) != count:
                raise RunError(
                    f"RolloutBatch.{name} has {len(getattr(self, name))} rows, but there are {count} completions."
                )
        for name in ("features", "embeddings"):
            array = getattr(self, name)
            if array is not None and (array.ndim != 2 or array.shape[0] != count):
                raise RunError(f"RolloutBatch.{name} has shape {array.shape}; expected ({count}, width).")
        for row, (chosen, scores) in enumerate(zip(self.positives, self.positive_scores, strict=True)):
            if scores and len(scores) != len(chosen):
                raise RunError(
                    f"RolloutBatch.positive_scores has {len(scores)} scores for the {len(chosen)} positives of row "
                    f"{row}."
                )

    def __len__(self) -> int:
        return len(self.completions)


def write_batch(batch: RolloutBatch, path: Path) -> None:
    """Write `batch` to `path` as Parquet (the caller makes it atomic)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "step": pa.array([batch.step] * len(batch), pa.int64()),
        # JSON text keeps messages and plain strings apart and takes any message that a chat template takes.
        "prompt": pa.array(
            [encodable(json.dumps(prompt, ensure_ascii=False)) for prompt in batch.prompts], pa.string()
        ),
        "completion": pa.array([encodable(text) for text in batch.completions], pa.string()),
        "domain": pa.array(batch.domains, pa.string()),
        "prompt_id": pa.array([int(number) for number in batch.prompt_ids], pa.int64()),
        "reward": pa.array([None if reward is None else float(reward) for reward in batch.rewards], pa.float64()),
        "correct": pa.array([bool(flag) for flag in batch.correct], pa.bool_()),
        "usable": pa.array([bool(flag) for flag in batch.usable], pa.bool_()),
        "verdict": pa.array(batch.verdicts, pa.string()),
        "positives": pa.array([[int(row) for row in rows] for rows in batch.positives], pa.list_(pa.int32())),
        "positive_scores": pa.array(
            [[float(score) for score in scores] for scores in batch.positive_scores], pa.list_(pa.float32())
        ),
    }
    kinds = {"answers": pa.string(), "details": pa.string(), "tokens": pa.int32(), "truncated": pa.bool_()}
    for name in _OPTIONAL:
        if values := getattr(batch, name):
            clean = [encodable(value) for value in values] if kinds[name] == pa.string() else values
            columns[name] = pa.array(clean, kinds[name])
    for name in ("features", "embeddings"):
        array = getattr(batch, name)
        if array is not None:
            columns[name] = _vectors(array)
    table = pa.table(columns)
    if batch.term:
        table = table.replace_schema_metadata({_TERM: json.dumps(batch.term).encode()})
    pq.write_table(table, path, compression="zstd")


def count_rows(path: Path) -> int:
    """Return the number of rollouts in the file that `write_batch` wrote.

    Raises:
        RunError: The file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} cannot be read as the rollouts of a step ({error}).") from error


def read_batch(path: Path) -> RolloutBatch:
    """Read the batch that `write_batch` wrote.

    Raises:
        RunError: The file is not one of ours or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        names = ("prompt", "completion", "domain", "prompt_id", "reward", "correct", "usable", "verdict", "positives")
        columns = {name: table.column(name).to_pylist() for name in names}
        # Older files lack some columns; the defaults of the fields say so.
        later = [name for name in ("positive_scores", *_OPTIONAL) if name in table.column_names and table.num_rows]
        known = {name: table.column(name).to_pylist() for name in later}
        prompts = [json.loads(text) for text in columns["prompt"]]
        term = json.loads((table.schema.metadata or {}).get(_TERM, b"{}"))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise RunError(f"{path} cannot be read as the rollouts of a step ({error}).") from error
    return RolloutBatch(
        # The name has the step too, for a step without a single rollout.
        step=table.column("step")[0].as_py() if table.num_rows else int(path.stem.removeprefix("step_")),
        prompts=prompts,
        completions=columns["completion"],
        domains=columns["domain"],
        prompt_ids=columns["prompt_id"],
        rewards=columns["reward"],
        correct=columns["correct"],
        usable=columns["usable"],
        verdicts=columns["verdict"],
        features=_matrix(table, "features"),
        embeddings=_matrix(table, "embeddings"),
        positives=columns["positives"],
        term=term,
        **known,
    )


def _vectors(array: Float32Array) -> pa.FixedSizeListArray:
    """Turn an (N, width) array into an Arrow column of N vectors, without a Python list in between."""
    import numpy as np
    import pyarrow as pa

    array = np.ascontiguousarray(array, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def _matrix(table: pa.Table, name: str) -> Float32Array | None:
    import numpy as np

    if name not in table.column_names or not table.num_rows:
        return None
    column = table.column(name).combine_chunks()
    values: Float32Array = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return values.reshape(table.num_rows, -1)
