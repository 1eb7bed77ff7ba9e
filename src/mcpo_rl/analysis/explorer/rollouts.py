"""The data of the rollout explorer: a run's kept rollouts as columns, with their places on the map and their pairs.

A page holds at most `MOST_ROLLOUTS` rollouts and `MOST_BYTES` of packed data, shared evenly by its runs. Of more
rollouts an even choice is taken in which anchors come with their positives and hardest negatives; texts give way first:
their middle is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcpo_rl.analysis.explorer.links import AnchorPairs, Pair, StepPairs, pairs_of
from mcpo_rl.analysis.explorer.packing import packed
from mcpo_rl.analysis.explorer.texts import TextTable, all_shortened, prompt_text
from mcpo_rl.analysis.geometry import Space, project
from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.runs import RolloutBatch

SPACES: dict[Space, str] = {"features": "policy's hidden states", "embeddings": "contrastive head's embeddings"}
VERDICTS = ("correct", "incorrect", "error")
MOST_ROLLOUTS = 15_000
MOST_OF_A_RUN = 5_000
MOST_BYTES = 8_000_000
LENGTHS = (12_000, 6_000, 3_000, 1_500, 700, 300)
"""Characters shown of one text, from what is wished to what is least."""
_SAMPLE = 500_000
"""Characters by which is judged how far texts can be packed."""
_NEGATIVES_ALONG = 2
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class ExplorerRun:
    """One run as the page holds it."""

    name: str
    data: str
    """Packed; the page's script unpacks it when the run is looked at."""
    shown: int
    kept: int
    """Rollouts in the steps that were read."""
    characters: int
    """Most characters shown of one text."""


def explorer_runs(runs: Sequence[RunData], domains: Sequence[str]) -> list[ExplorerRun]:
    """Return the explorer's data of every run that kept rollouts."""
    with_rollouts = [run for run in runs if any(len(batch) for batch in run.rollouts)]
    if not with_rollouts:
        return []
    most = min(MOST_OF_A_RUN, MOST_ROLLOUTS // len(with_rollouts))
    return [_explorer_run(run, domains, most, MOST_BYTES // len(with_rollouts)) for run in with_rollouts]


def verdict_of(batch: RolloutBatch, row: int) -> str:
    """Return `correct`, `incorrect` or `error`, from the reward where no verdict was kept."""
    if batch.verdicts[row] in VERDICTS:
        return batch.verdicts[row]
    return "error" if batch.rewards[row] is None else "correct" if batch.correct[row] else "incorrect"


def chosen_rows(batch: RolloutBatch, pairs: StepPairs, most: int) -> list[int]:
    """Return at most `most` rows of `batch`, ascending: an even choice, anchors together with what they met."""
    if len(batch) <= most:
        return list(range(len(batch)))
    chosen: set[int] = set()
    for row in sorted(range(len(batch)), key=lambda row: row * _GOLDEN % 1.0):
        met = pairs.anchors.get(row, AnchorPairs())
        along = [row, *(pair.row for pair in [*met.positives, *met.negatives[:_NEGATIVES_ALONG]])]
        new = [other for other in dict.fromkeys(along) if other not in chosen]
        if len(chosen) + len(new) <= most:
            chosen.update(new)
        elif len(chosen) < most:
            chosen.add(row)
    return sorted(chosen)


def _explorer_run(run: RunData, domains: Sequence[str], most: int, most_bytes: int) -> ExplorerRun:
    batches = [batch for batch in run.rollouts if len(batch)]
    columns = _Columns(domains, run.config)
    per_step = _per_step([len(batch) for batch in batches], most)
    projections = {space: project(batches, space) for space in SPACES}
    for place, batch in enumerate(batches):
        columns.add(batch, per_step, {space: p.coordinates[place] for space, p in projections.items() if p is not None})
    data = columns.data | {
        "run": run.name,
        "explained": {space: list(p.explained) for space, p in projections.items() if p is not None},
    }
    prompts, completions = columns.prompts.texts, data.pop("completion")
    for length in LENGTHS[_first_to_try(data, [*prompts, *completions], most_bytes) :]:
        texts = {"prompts": all_shortened(prompts, length), "completion": all_shortened(completions, length)}
        text = packed(data | texts)
        if len(text) <= most_bytes:
            break
    kept = sum(len(batch) for batch in batches)
    return ExplorerRun(run.name, text, shown=len(data["domain"]), kept=kept, characters=length)


def _first_to_try(data: dict[str, Any], texts: Sequence[str], most_bytes: int) -> int:
    """Return which of `LENGTHS` should fit, by how far some of the texts can be packed: packing all takes long."""
    sample = "".join(texts[:: max(1, sum(map(len, texts)) // _SAMPLE)])
    each = len(packed(sample)) / max(1, len(sample))
    room = most_bytes - len(packed(data))
    fitting = (place for place, most in enumerate(LENGTHS) if each * sum(min(len(t), most) for t in texts) <= room)
    return next(fitting, len(LENGTHS) - 1)


def _per_step(counts: Sequence[int], most: int) -> int:
    """Return how many rollouts of a step fit where steps have `counts` and all together may have `most`."""
    fits = max(counts)
    while fits > 1 and sum(min(count, fits) for count in counts) > most:
        fits = min(fits - 1, max(1, fits * most // sum(min(count, fits) for count in counts)))
    return fits


class _Columns:
    """The rollouts of a run as lists of equal length; pairs name rollouts by their place in them."""

    def __init__(self, domains: Sequence[str], config: dict[str, Any]) -> None:
        self._numbers = {domain: number for number, domain in enumerate(domains)}
        self._config = config
        self.prompts = TextTable()
        names = ("domain", "verdict", "part", "reward", "prompt", "group", "tokens", "cut", "answer", "detail")
        self.data: dict[str, Any] = {name: [] for name in (*names, "row", "completion", "pairs")}
        self.data |= {"steps": [], "at": {}}

    def add(self, batch: RolloutBatch, most: int, places: dict[Space, Any]) -> None:
        """Append the rollouts of one step."""
        settings = batch.term or {key: self._config[key] for key in ("negatives", "temperature") if key in self._config}
        pairs = pairs_of(batch, settings if batch.term else {"negatives": settings.get("negatives", "all")})
        rows = chosen_rows(batch, pairs, most)
        first = len(self.data["domain"])
        place_of = {row: first + place for place, row in enumerate(rows)}
        groups = {number: place for place, number in enumerate(dict.fromkeys(batch.prompt_ids))}
        self.data["steps"].append(
            {
                "step": batch.step,
                "first": first,
                "count": len(rows),
                "of": len(batch),
                "correct": dict(pairs.correct),
                "incorrect": dict(pairs.incorrect),
                "term": batch.term,
                "paired": bool(pairs.anchors),
            }
        )
        for row in rows:
            values = {
                "domain": self._numbers[batch.domains[row]],
                "verdict": VERDICTS.index(verdict_of(batch, row)),
                "part": int(batch.usable[row]) * (1 + int(batch.correct[row])),  # 0 none, 1 negative, 2 anchor
                "reward": _short(batch.rewards[row]),
                "prompt": self.prompts.add(prompt_text(batch.prompts[row])),
                "group": groups[batch.prompt_ids[row]],
                "tokens": batch.tokens[row] if batch.tokens else None,
                "cut": int(batch.truncated[row]) if batch.truncated else 0,
                "answer": batch.answers[row] if batch.answers else "",
                "detail": batch.details[row] if batch.details else "",
                "row": row,
                "completion": batch.completions[row],
                "pairs": _plain(pairs.anchors[row], place_of) if row in pairs.anchors else None,
            }
            for name, value in values.items():
                self.data[name].append(value)
        self._add_places(first, rows, places)

    def _add_places(self, first: int, rows: Sequence[int], places: dict[Space, Any]) -> None:
        for space, coordinates in places.items():
            x, y = self.data["at"].setdefault(space, ([None] * first, [None] * first))
            for column, values in ((x, coordinates[rows, 0]), (y, coordinates[rows, 1])):
                column.extend(round(float(value), 4) if np.isfinite(value) else None for value in values)


def _plain(met: AnchorPairs, place_of: dict[int, int]) -> dict[str, Any]:
    """Return the pairs of one anchor as the page's script reads them; only those whose rollouts the page holds."""

    def listed(pairs: Sequence[Pair]) -> list[list[float | int | None]]:
        return [
            [place_of[pair.row], _short(pair.similarity), _short(pair.transferability), _short(pair.share)]
            for pair in pairs
            if pair.row in place_of
        ]

    return {
        "positives": listed(met.positives),
        "negatives": listed(met.negatives),
        "own": listed(met.own_domain),
        "counts": [len(met.positives), met.negative_count, met.own_domain_count],
        "ownSimilarity": _short(met.own_domain_similarity),
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
