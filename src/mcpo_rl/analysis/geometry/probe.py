"""The probe of a run as the analysis sees it: its states by step, what is measured of them, and its maps.

Axes: S recorded steps, N rollouts of the set, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mcpo_rl.analysis.geometry.linear import available
from mcpo_rl.analysis.geometry.maps import ProbeMap, pca_map, tsne_map
from mcpo_rl.analysis.geometry.measures import measure
from mcpo_rl.analysis.geometry.rows import ProbeRows
from mcpo_rl.errors import RunError
from mcpo_rl.runs.probe import FOLDER, ProbeDirectory, ProbeSet

FORMULAS = 1
"""Version of the measures: raised when a formula changes, so that numbers kept by an older one are not mixed in."""
MOST_STEPS = 40
"""Steps that are read, evenly over the run."""
MOST_MAPPED_STEPS = 6
MOST_MAPPED_ROLLOUTS = 120
"""What a t-SNE map takes in; it costs seconds."""
FEWEST_ROLLOUTS = 4


@dataclass(frozen=True)
class PlacedProbe:
    """A map together with which rollouts of the set and which steps are on it."""

    method: str
    """`pca` or `tsne`."""
    steps: list[int]
    rollouts: list[int]
    """Rows of the set."""
    map: ProbeMap
    """(steps, rollouts, 2)"""


@dataclass(frozen=True)
class ProbeGeometry:
    """The probe of one run, read. Nothing is computed before it is asked for."""

    path: Path
    """The folder `probe/`."""
    rollouts: ProbeSet
    steps: list[int]
    """Ascending, at least one."""
    rows: list[ProbeRows]
    """One per step."""
    layer: int
    """Where the states were read, as `feature_layer`."""
    remarks: list[str] = field(default_factory=list)
    """What was left out and why, for people."""

    @cached_property
    def measured(self) -> dict[int, dict[str, float]]:
        """Every measure by step and name: `separability`, `alignment/math`, `distance/code/math`, ...

        Taken from `geometry.json` where it was kept there when the states were recorded, else computed.
        """
        kept = ProbeDirectory(self.path).read_geometry(self.rollouts.fingerprint, FORMULAS)
        base = self.rows[0] if self.steps[0] == 0 else None
        return {
            step: kept[step] if _is_complete(kept.get(step)) else measure(rows, base)
            for step, rows in zip(self.steps, self.rows, strict=True)
        }

    @property
    def names(self) -> list[str]:
        """The names of what was measured at any step, sorted."""
        return sorted({name for measured in self.measured.values() for name in measured})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps at which there is a number of that name, and the numbers."""
        found = [(step, measured[name]) for step, measured in self.measured.items() if name in measured]
        return [step for step, _ in found], [value for _, value in found]

    def pca(self) -> PlacedProbe:
        """Return the map of all rollouts and steps on common principal axes."""
        everyone = list(range(len(self.rollouts)))
        return PlacedProbe("pca", self.steps, everyone, pca_map(self.rows))

    def tsne(self) -> PlacedProbe | None:
        """Return the t-SNE map of at most 120 rollouts at 6 steps, evenly chosen; None for too few rollouts.

        Raises:
            MissingDependencyError: scikit-learn is not installed.
        """
        places = _thin(range(len(self.steps)), MOST_MAPPED_STEPS)
        chosen = self._thin_rollouts(MOST_MAPPED_ROLLOUTS)
        placed = tsne_map([self.rows[place].only(np.array(chosen)) for place in places])
        if placed is None:
            return None
        return PlacedProbe("tsne", [self.steps[place] for place in places], chosen, placed)

    def _thin_rollouts(self, most: int) -> list[int]:
        """Choose evenly within each domain and verdict, so that none falls out of the map."""
        kinds = list(zip(self.rollouts.domains, self.rollouts.verdicts, strict=True))
        if len(kinds) <= most:
            return list(range(len(kinds)))
        order = sorted(range(len(kinds)), key=kinds.__getitem__)
        return sorted(_thin(order, most))


def load_probe(path: str | Path) -> ProbeGeometry | None:
    """Read a folder `probe/`; damaged and unfitting pieces are left out and told in `remarks`.

    Args:
        path: The folder, or the run directory that has it.

    Returns:
        The probe, or None where there is no set, no states or fewer than four rollouts.
    """
    directory = ProbeDirectory(Path(path))
    if not directory.exists():
        directory = ProbeDirectory(Path(path) / FOLDER)
    if not directory.exists():
        return None
    try:
        rollouts = directory.read_set()
    except RunError:
        return None
    remarks: list[str] = []
    labels = ProbeRows.of(
        np.zeros((len(rollouts), 1)),
        rollouts.domains,
        rollouts.keys,
        [verdict == "correct" for verdict in rollouts.verdicts],
    )
    steps: list[int] = []
    rows: list[ProbeRows] = []
    layers: list[tuple[int, str, int]] = []
    for step in _thin(directory.steps(), MOST_STEPS):
        try:
            state = directory.read_state(step)
        except RunError as error:
            remarks.append(f"Skipped: {error}")
            continue
        if state.fingerprint != rollouts.fingerprint or len(state.features) != len(rollouts):
            remarks.append(f"Skipped: the states of step {step} in {directory.path} are of another probe set.")
        elif not np.isfinite(state.features).all():
            remarks.append(f"Skipped: hidden states of step {step} in {directory.path} are not finite.")
        elif layers and (state.layer, state.pooling, state.features.shape[1]) != layers[0]:
            remarks.append(f"Skipped: the states of step {step} in {directory.path} are of another layer or pooling.")
        else:
            layers.append((state.layer, state.pooling, state.features.shape[1]))
            steps.append(step)
            rows.append(labels.with_features(state.features))
    if not steps or len(rollouts) < FEWEST_ROLLOUTS:
        return None
    if steps[0] != 0:
        remarks.append("There are no states of the model that training started from: cka and drift are left out.")
    if not available():
        remarks.append("Separability and verdicts need scikit-learn: pip install 'mcpo-rl[report]'.")
    return ProbeGeometry(directory.path, rollouts, steps, rows, layers[0][0], remarks)


def record_geometry(directory: ProbeDirectory, step: int) -> dict[str, float]:
    """Measure the states of one step, keep the numbers in `geometry.json` and return them as `probe/<name>`.

    Args:
        directory: A probe with a set and the states of `step`; with those of step 0 there are `cka` and `drift` too.
        step: Of the states.

    Raises:
        RunError: The states are missing, damaged or of another set, or the numbers could not be written.
    """
    rollouts, state = directory.read_set(), directory.read_state(step)
    if state.fingerprint != rollouts.fingerprint:
        raise RunError(f"The states of step {step} in {directory.path} are of another probe set.")
    if len(rollouts) < FEWEST_ROLLOUTS or not np.isfinite(state.features).all():
        return {}
    correct = [verdict == "correct" for verdict in rollouts.verdicts]
    rows = ProbeRows.of(state.features, rollouts.domains, rollouts.keys, correct)
    base = directory.read_state(0) if 0 in directory.steps() else None
    fits = base is not None and (base.fingerprint, base.layer, base.features.shape) == (
        state.fingerprint,
        state.layer,
        state.features.shape,
    )
    measured = measure(rows, rows.with_features(base.features) if base is not None and fits else None)
    directory.write_geometry(step, rollouts.fingerprint, FORMULAS, measured)
    return {f"probe/{name}": value for name, value in measured.items()}


def _is_complete(measured: dict[str, float] | None) -> bool:
    """Whether numbers that were kept are all that could be computed here: they may be from where a package lacked."""
    return measured is not None and ("separability" in measured or not available())


def _thin(items: Sequence[int], most: int) -> list[int]:
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]
