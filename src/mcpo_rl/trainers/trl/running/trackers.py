"""Rollouts with their verdicts in the trackers of `report_to`: Trackio, Weights & Biases, TensorBoard.

Metrics need nothing from here: every one of ours is in the trainer's log, which transformers hands to each tracker. A
table of rollouts each of the three takes in its own way. Any other tracker gets the metrics alone.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mcpo_rl.errors import ConfigError, MissingDependencyError, nearest
from mcpo_rl.runs import RolloutBatch
from mcpo_rl.types import Message

NAME = "rollouts"
"""The table's name in Trackio and Weights & Biases; in TensorBoard texts are `rollouts/<domain>`."""
PER_VERDICT = 2
"""Rollouts of a domain that are shown of each verdict. All of them are in the run directory's `rollouts/`."""
CUT = 4000
"""Characters of a prompt or completion that are shown."""

PACKAGES = {"trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}
"""Trackers that get rollouts too, each with the packages of which one has to be there."""

Row = dict[str, Any]


def check_trackers(report_to: Sequence[str] | str) -> None:
    """Refuse trackers that are not known, and those of ours that are not installed, before anything is loaded.

    Args:
        report_to: names of trackers, or one; `none` and `all` are transformers' own words.

    Raises:
        ConfigError: transformers knows no tracker of this name.
        MissingDependencyError: The package of one of the three is missing.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in [report_to] if isinstance(report_to, str) else report_to:
        if name in ("none", "all"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ConfigError(
                f"`report_to`: there is no tracker `{name}`; known are {known}, and `none`."
                f"{nearest(name, INTEGRATION_TO_CALLBACK)}"
            )
        if name in PACKAGES and not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise MissingDependencyError(
                f"`report_to: {name}` needs the package {name}: pip install 'mcpo-rl[trackers]' (or {name} alone)."
            )


def rollout_trackers(trainer: Any) -> list[Callable[[RolloutBatch], None]]:
    """Return the observers of rollouts that a trainer's `report_to` asks for.

    Args:
        trainer: with `args.report_to` and transformers' `callback_handler`; looked at when there is something to show,
            since trackers begin with the training.
    """
    known: dict[str, Callable[[RolloutBatch], None]] = {
        "wandb": _to_wandb,
        "trackio": _to_trackio,
        "tensorboard": lambda batch: _to_tensorboard(batch, trainer.callback_handler.callbacks),
    }
    return [known[name] for name in trainer.args.report_to if name in known]


def shown_rows(batch: RolloutBatch, *, per_verdict: int = PER_VERDICT) -> list[Row]:
    """Return a few rollouts of each domain and verdict, the first ones of the batch, as rows of a table.

    Returns:
        Rows with the keys step, row (its number in the batch), domain, verdict, reward, answer, prompt, completion,
        positives (`code #12 (0.83)`: domain, row and transferability of the positives that were chosen for it).
    """
    taken: dict[tuple[str, str], int] = defaultdict(int)
    rows = []
    for number in range(len(batch)):
        verdict = _verdict(batch, number)
        kind = batch.domains[number], verdict
        taken[kind] += 1
        if taken[kind] <= per_verdict:
            rows.append(
                {
                    "step": batch.step,
                    "row": number,
                    "domain": batch.domains[number],
                    "verdict": verdict,
                    "reward": batch.rewards[number],
                    "answer": batch.answers[number] if batch.answers else "",
                    "prompt": _cut(_text(batch.prompts[number])),
                    "completion": _cut(batch.completions[number]),
                    "positives": ", ".join(_positives(batch, number)),
                }
            )
    return sorted(rows, key=lambda row: (row["domain"], row["verdict"], row["row"]))


def as_markdown(rows: Iterable[Row]) -> str:
    """Return rows as Markdown, for TensorBoard. Texts stand in fences that no text can close."""
    return "\n\n".join(
        f"**{row['verdict']}** reward {row['reward']}, rollout #{row['row']}"
        + (f", answer `{row['answer']}`" if row["answer"] and "`" not in row["answer"] else "")
        + (f", positives {row['positives']}" if row["positives"] else "")
        + f"\n\n{_fenced(row['prompt'])}\n\n{_fenced(row['completion'])}"
        for row in rows
    )


def _to_wandb(batch: RolloutBatch) -> None:
    import wandb

    if wandb.run is not None:
        wandb.log({NAME: wandb.Table(dataframe=_frame(batch)), "train/global_step": batch.step})


def _to_trackio(batch: RolloutBatch) -> None:
    import trackio

    trackio.log({NAME: trackio.Table(dataframe=_frame(batch)), "train/global_step": batch.step})


def _to_tensorboard(batch: RolloutBatch, callbacks: Sequence[Any]) -> None:
    writers = [writer for callback in callbacks if (writer := getattr(callback, "tb_writer", None)) is not None]
    rows = shown_rows(batch)
    for writer in writers:
        for domain in sorted({row["domain"] for row in rows}):
            text = as_markdown(row for row in rows if row["domain"] == domain)
            writer.add_text(f"{NAME}/{domain}", text, batch.step)


def _frame(batch: RolloutBatch) -> Any:
    import pandas

    return pandas.DataFrame(shown_rows(batch))


def _verdict(batch: RolloutBatch, number: int) -> str:
    """Return the verifier's word, or what the reward says where a reward function of another kind gave it."""
    if batch.verdicts[number]:
        return batch.verdicts[number]
    if batch.rewards[number] is None:
        return "error"
    return "correct" if batch.correct[number] else "incorrect"


def _positives(batch: RolloutBatch, number: int) -> list[str]:
    chosen, scores = batch.positives[number], batch.positive_scores[number]
    said = [f" ({score:.2f})" for score in scores] if len(scores) == len(chosen) else [""] * len(chosen)
    return [f"{batch.domains[row]} #{row}{score}" for row, score in zip(chosen, said, strict=True)]


def _text(prompt: Sequence[Message] | str) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def _cut(text: str) -> str:
    return text if len(text) <= CUT else f"{text[:CUT]} ... ({len(text) - CUT} more characters)"


def _fenced(text: str) -> str:
    longest = 2
    run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text}\n{fence}"
