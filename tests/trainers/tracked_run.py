"""A short run with a tracker, then what the tracker kept, as JSON: `python -m tests.trainers.tracked_run TRACKER DIR`.

Writes to DIR: lines.json (the trainer's log), kept.json (step -> metrics that the tracker holds), tables.json (pairs of
a step and the rows of the table of rollouts).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer

from .conftest import make_dataset, make_model, make_tokenizer, parity_reward

PROJECT = "mcpo-rl-test"


def train(tracker: str, directory: Path) -> list[dict[str, Any]]:
    args = MCPOConfig(
        output_dir=str(directory / "out"),
        per_device_train_batch_size=12,
        num_generations=4,
        max_completion_length=8,
        max_steps=3,
        logging_steps=1,
        save_strategy="no",
        report_to=[tracker],
        project=PROJECT,
        log_rollouts_steps=2,
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = MCPOTrainer(make_model(), parity_reward, args, make_dataset(), processing_class=make_tokenizer())
    trainer.train()
    return [row for row in trainer.state.log_history if "contrastive/loss" in row]


def kept_by_trackio() -> tuple[dict[int, Any], list[Any]]:
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(PROJECT)
    logs = SQLiteStorage.get_logs(PROJECT, run)
    kept = {line["train/global_step"]: line for line in logs if "train/contrastive/loss" in line}
    return kept, [(line["train/global_step"], line["rollouts"]["_value"]) for line in logs if "rollouts" in line]


def records(file: Path) -> list[bytes]:
    """Return the records of an offline run: a header of 7 bytes, then LevelDB's log format, in blocks of 32 KiB."""
    data, block = file.read_bytes(), 32768
    found, place, parts = [], 7, b""
    while place + 7 <= len(data):
        room = block - place % block
        if room < 7:  # too little for a header: the rest of the block is padding
            place += room
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(parts)
            parts = b""
    return found


def kept_by_wandb(directory: Path) -> tuple[dict[int, Any], list[Any]]:
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.finish()
    wandb.teardown()  # only then has its other process written everything
    (file,) = directory.glob("wandb/offline-run-*/*.wandb")
    lines = []
    for data in records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            lines.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    kept = {line["train/global_step"]: line for line in lines if "train/contrastive/loss" in line}
    tables = []
    for line in (line for line in lines if "rollouts" in line or "rollouts/path" in line):
        path = line["rollouts"]["path"] if "rollouts" in line else line["rollouts/path"]
        table = json.loads((file.parent / "files" / path).read_text())
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        tables.append((line["train/global_step"], rows))
    return kept, tables


def main(tracker: str, directory: Path) -> None:
    lines = train(tracker, directory)
    kept, tables = kept_by_trackio() if tracker == "trackio" else kept_by_wandb(directory)
    for name, value in (("lines", lines), ("kept", kept), ("tables", tables)):
        (directory / f"{name}.json").write_text(json.dumps(value, default=str))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
