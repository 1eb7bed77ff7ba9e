"""The map of the probe set: the same rollouts at every recorded step, as the page moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcpo_rl.analysis.explorer.packing import packed
from mcpo_rl.analysis.explorer.texts import TextTable, all_shortened, prompt_text
from mcpo_rl.analysis.geometry import PlacedProbe, ProbeGeometry, load_probe
from mcpo_rl.analysis.reading.loading import RunData

KINDS = {"pca": "principal components, one plane for all steps", "tsne": "t-SNE, each step from the one before"}
MOST_RUNS = 6
MOST_CHARACTERS = 4_000
MOST_MAPPED = 600
"""Rollouts of the plane of principal components; the t-SNE has fewer."""


@dataclass(frozen=True)
class ProbeRun:
    """The probe of one run as the page holds it."""

    name: str
    data: str
    """Packed."""


def probe_runs(runs: Sequence[RunData], domains: Sequence[str]) -> list[ProbeRun]:
    """Return the maps of the probe sets of at most `MOST_RUNS` runs: those that have two steps or more of one."""
    found: list[ProbeRun] = []
    for run in runs:
        probe = load_probe(run.path) if len(found) < MOST_RUNS else None
        if probe is not None:
            run.remarks.extend(remark for remark in probe.remarks if remark not in run.remarks)
        if probe is not None and len(probe.steps) > 1:
            found.append(ProbeRun(run.name, packed({"run": run.name, **_data(probe, domains)})))
    return found


def _data(probe: ProbeGeometry, domains: Sequence[str]) -> dict[str, Any]:
    rollouts, prompts = probe.rollouts, TextTable()
    placed = [placed for placed in (probe.pca(), probe.tsne()) if placed is not None]
    names = [*domains, *sorted(set(rollouts.domains) - set(domains))]
    numbers = [prompts.add(prompt_text(prompt)) for prompt in rollouts.prompts]
    return {
        "names": names,
        "origin": rollouts.origin,
        "domain": [names.index(domain) for domain in rollouts.domains],
        "verdict": [0 if verdict == "correct" else 1 for verdict in rollouts.verdicts],
        "prompt": numbers,
        "prompts": all_shortened(prompts.texts, MOST_CHARACTERS),
        "completion": all_shortened(rollouts.completions, MOST_CHARACTERS),
        "maps": {one.method: _map(one) for one in placed},
    }


def _map(placed: PlacedProbe) -> dict[str, Any]:
    coordinates = placed.map.coordinates
    kept = range(0, len(placed.rollouts), -(-len(placed.rollouts) // MOST_MAPPED))
    return {
        "steps": list(placed.steps),
        "rollouts": [placed.rollouts[place] for place in kept],
        "at": [[[round(float(value), 4) for value in axis[kept]] for axis in step.T] for step in coordinates],
        "explained": None if placed.map.explained is None else list(placed.map.explained),
    }
