"""What the learning curves of the methods come down to: areas, their differences to a reference, steps to a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcpo_rl.comparison.curves import MEAN, Curves, StepsToTarget, area, first_reached, halfway, read_curves
from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.seeds import PairedEstimate, SeedEstimate, corrected, over_seeds, paired_over_seeds

BySeed = Mapping[int, Curves]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The learning curves of one method; `MEAN` ('') stands beside the domains."""

    area: Mapping[str, SeedEstimate] = field(default_factory=dict)
    """Mean accuracy over the steps."""
    against: Mapping[str, PairedEstimate] = field(default_factory=dict)
    """The areas minus those of the reference, at the seeds that both have; empty for the reference."""
    steps: Mapping[str, StepsToTarget] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "auc": _json({name: one.to_json() for name, one in self.area.items()}),
            "auc_against": _json({name: one.to_json() for name, one in self.against.items()}),
            "steps_to_target": _json({name: one.to_json() for name, one in self.steps.items()}),
        }


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the curves are asked to reach."""

    window: int
    """k: the trailing mean is over so many steps."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """By domain, and under `MEAN` for the mean over the domains."""
    given: bool = False
    """Whether the level was asked for; else it is halfway from where the reference begins to where it ends."""

    def to_json(self) -> dict[str, Any]:
        """Return them as plain JSON data."""
        domains = {name: level for name, level in self.levels.items() if name != MEAN}
        return {"window": self.window, "given": self.given, "domains": domains, "mean": self.levels.get(MEAN)}


def progress_of(
    plan: Plan,
    finished: Mapping[str, Sequence[int]],
    domains: Sequence[str],
    reference: str,
    *,
    target: float | None = None,
    window: int | None = None,
) -> tuple[dict[str, Progress], Targets]:
    """Return what the learning curves of every method that has some come down to, and the targets.

    Args:
        plan: The comparison.
        finished: Method to the seeds that have finished.
        domains: Those that are trained on and evaluated.
        reference: The method that the others are held against.
        target: An accuracy; None takes halfway between the first and the last level of the reference, for each domain.
        window: k; None takes a tenth of the steps.

    Raises:
        RunError: A file is damaged.
    """
    window = window or max(1, plan.steps // 10)
    curves: dict[str, BySeed] = {}
    for method, seeds in finished.items():
        found = {seed: own for seed in seeds if (own := read_curves(plan, method, seed, domains))}
        curves |= {method: found} if found else {}
    names = [*domains, MEAN]
    base = curves.get(reference, {})
    targets = Targets(window=window, levels=_levels(names, base, target, window), given=target is not None)
    progress = {
        method: _progress(names, own, {} if method == reference else base, targets) for method, own in curves.items()
    }
    return _corrected(progress), targets


def _levels(names: Sequence[str], reference: BySeed, target: float | None, window: int) -> dict[str, float]:
    if target is not None:
        return dict.fromkeys(names, target)
    halves = {name: halfway([own[name] for own in reference.values() if name in own], window) for name in names}
    return {name: half for name, half in halves.items() if half is not None}


def _progress(names: Sequence[str], own: BySeed, reference: BySeed, targets: Targets) -> Progress:
    areas, bases = _areas(names, own), _areas(names, reference)
    minus = {
        name: {seed: value - bases[name][seed] for seed, value in areas[name].items() if seed in bases[name]}
        for name in names
    }
    return Progress(
        area={name: over_seeds(values, unit=True) for name, values in areas.items() if values},
        against={name: paired_over_seeds(values) for name, values in minus.items() if values},
        steps={
            name: StepsToTarget(
                target=level,
                seeds={s: first_reached(c[name], level, targets.window) for s, c in sorted(own.items()) if name in c},
            )
            for name, level in targets.levels.items()
            if areas[name]
        },
    )


def _areas(names: Sequence[str], by_seed: BySeed) -> dict[str, dict[int, float]]:
    return {name: {seed: area(own[name]) for seed, own in by_seed.items() if name in own} for name in names}


def _corrected(found: Mapping[str, Progress]) -> dict[str, Progress]:
    """Return the same with the differences of areas corrected: those of the mean as one family, of domains another."""
    every = {(method, name): one for method, own in found.items() for name, one in own.against.items()}
    means = corrected({key: one for key, one in every.items() if key[1] == MEAN})
    domains = corrected({key: one for key, one in every.items() if key[1] != MEAN})
    both = means | domains
    return {
        method: Progress(area=own.area, against={name: both[method, name] for name in own.against}, steps=own.steps)
        for method, own in found.items()
    }


def _json(found: dict[str, Any]) -> dict[str, Any] | None:
    """Return `domains` and `mean` apart; None where nothing was found."""
    return {"mean": found.pop(MEAN, None), "domains": found} if found else None
