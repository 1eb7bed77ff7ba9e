"""Single rollouts on the page: the points of the map, and examples to read."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mcpo_rl.analysis.geometry import Projection, Space, project
from mcpo_rl.analysis.loading import RunData, thin
from mcpo_rl.runs import RolloutBatch

MOST_POINTS = 150
"""Points of the map per step; more are thinned evenly."""
SPACES: dict[Space, str] = {"features": "policy's hidden states", "embeddings": "contrastive head's embeddings"}
SHOWN_CHARACTERS = 4000
HOVER_CHARACTERS = 180
MOST_POSITIVES = 3


@dataclass(frozen=True)
class Text:
    """A text of a model as it is shown: its beginning, and how much more there is."""

    shown: str
    more: int


@dataclass(frozen=True)
class Example:
    """One rollout to read, with the rollouts of other domains that were its positives."""

    domain: str
    verdict: str
    reward: float | None
    prompt: Text
    completion: Text
    positives: list[Example] = field(default_factory=list)
    more_positives: int = 0


def verdict_of(batch: RolloutBatch, row: int) -> str:
    """Return `correct`, `incorrect` or `error`, from the reward where no verdict was kept."""
    if batch.verdicts[row]:
        return batch.verdicts[row]
    return "error" if batch.rewards[row] is None else "correct" if batch.correct[row] else "incorrect"


def map_data(run: RunData, domains: Sequence[str]) -> dict[str, Any] | None:
    """Return the points of the representation map of `run` as plain data, or None where no representation was kept."""
    projections = {space: project(run.rollouts, space) for space in SPACES}
    usable = {space: projection for space, projection in projections.items() if projection is not None}
    if not usable:
        return None
    steps = []
    for place, batch in enumerate(run.rollouts):
        rows = thin(range(len(batch)), MOST_POINTS)
        steps.append(
            {
                "step": batch.step,
                "domain": [domains.index(batch.domains[row]) for row in rows],
                "verdict": [verdict_of(batch, row) for row in rows],
                "text": [hover_text(batch, row) for row in rows],
                "of": len(batch),
                "at": {space: _rounded(projection, place, rows) for space, projection in usable.items()},
            }
        )
    explained = {space: list(projection.explained) for space, projection in usable.items()}
    return {"run": run.name, "steps": steps, "explained": explained}


def hover_text(batch: RolloutBatch, row: int) -> str:
    """Return a short, escaped text about one rollout: plotly.js reads a subset of HTML in hover texts."""
    completion = " ".join(batch.completions[row].split())
    cut = completion[:HOVER_CHARACTERS] + (" …" if len(completion) > HOVER_CHARACTERS else "")
    words = html.escape(cut, quote=False).split(" ")
    return "<br>".join(_wrapped(words, 60))


def examples(run: RunData, domains: Sequence[str]) -> tuple[int, list[Example]] | None:
    """Return the last step with rollouts and, of every domain, one per verdict (with positives, if one has any)."""
    batch = next((batch for batch in reversed(run.rollouts) if len(batch)), None)
    if batch is None:
        return None
    chosen = []
    for domain in domains:
        for verdict in ("correct", "incorrect", "error"):
            rows = [
                row for row in range(len(batch)) if batch.domains[row] == domain and verdict_of(batch, row) == verdict
            ]
            if rows:
                chosen.append(_example(batch, max(rows, key=lambda row: bool(batch.positives[row]))))
    return batch.step, chosen


def prompt_text(prompt: object) -> str:
    """Return a prompt as one text: the messages under their roles, a single user message without one."""
    if not isinstance(prompt, list):
        return str(prompt)
    if len(prompt) == 1:
        return _content(prompt[0])
    return "\n\n".join(f"[{message.get('role', '')}]\n{_content(message)}" for message in prompt)


def _content(message: dict[str, Any]) -> str:
    content = message.get("content", "")
    return content if isinstance(content, str) else str(content)


def _example(batch: RolloutBatch, row: int, *, with_positives: bool = True) -> Example:
    positives = [other for other in batch.positives[row] if 0 <= other < len(batch)] if with_positives else []
    return Example(
        domain=batch.domains[row],
        verdict=verdict_of(batch, row),
        reward=batch.rewards[row],
        prompt=_cut(prompt_text(batch.prompts[row])),
        completion=_cut(batch.completions[row]),
        positives=[_example(batch, other, with_positives=False) for other in positives[:MOST_POSITIVES]],
        more_positives=max(0, len(positives) - MOST_POSITIVES),
    )


def _cut(text: str) -> Text:
    return Text(text[:SHOWN_CHARACTERS], max(0, len(text) - SHOWN_CHARACTERS))


def _rounded(projection: Projection, place: int, rows: Sequence[int]) -> list[list[float | None]]:
    points = projection.coordinates[place][rows]
    return [[round(float(x), 4) if np.isfinite(x) else None for x in column] for column in points.T]


def _wrapped(words: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of about `width` characters; an entity such as `&lt;` is never cut, since words are whole."""
    line = ""
    for word in words:
        if line and len(line) + len(word) > width:
            yield line
            line = ""
        line += (" " if line else "") + word
    yield line
