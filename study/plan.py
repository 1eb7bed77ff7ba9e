"""What the study runs: its settings of the testbed, methods and seeds, as comparisons of `mcpo-rl compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from mcpo_rl.data.procedural.conventions import Dials

HERE = Path(__file__).parent

SETTINGS: Mapping[str, Dials] = {
    "shared": Dials(shared=1),
    "middle": Dials(shared=0.5, conflict=0.5),
    "conflict": Dials(conflict=1),
    "apart": Dials(),
}
"""The settings of the dials. `apart`, with openings that no two domains share, is what the others are held against."""

ROOM = {f"room-{name}": name for name in ("shared", "middle", "conflict")}
"""Comparisons with a recipe that leaves room in every domain, to their settings."""

OTHERS = ("single", "sequential", "merge", "pcgrad")
ABLATIONS = ("mcpo-no-share", "mcpo-no-consolidate", "mcpo-random-positives", "mcpo-cosine")
FRESH = ("positives-1", "layer-1", "layer-2", "scorer-cosine")
"""Arms of study/sweep.yaml: three with the largest area, and the one whose positives were most alike."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One directory of `mcpo-rl compare`."""

    name: str
    recipe: Path
    seeds: Mapping[tuple[str, ...], range]
    """Methods to their seeds, in the order in which they are run."""
    base: str
    """The base model it starts from: of a setting, or `smollm2`."""
    variants: Path | None = None
    """Definitions of methods that are not built in."""
    changes: Mapping[str, str] = field(default_factory=dict)
    """Keys of the recipe that are set otherwise."""


def testbed(setting: str, seeds: Mapping[tuple[str, ...], range]) -> Comparison:
    """Return a comparison at a setting of the dials."""
    return Comparison(name=setting, recipe=HERE / "testbed.yaml", base=setting, seeds=seeds)


def full() -> list[Comparison]:
    """Return the comparisons of the study proper."""
    both, eight, five, three = ("grpo", "mcpo"), range(8), range(5), range(3)
    return [
        testbed("middle", {both: eight, OTHERS: five, ABLATIONS: five}),
        testbed("shared", {both: eight, ("single",): three}),
        testbed("conflict", {both: eight, ("single",): three}),
        testbed("apart", {("grpo", "single"): three}),
    ]


def quick() -> list[Comparison]:
    """Return the form of a quarter of an hour: GRPO and MCPO at three settings, fewer seeds and steps."""
    seeds = {"middle": range(2), "shared": range(1), "conflict": range(1)}
    both, changes = ("grpo", "mcpo"), {"max_steps": "30"}
    return [replace(testbed(name, {both: own}), changes=changes) for name, own in seeds.items()]


def sweep() -> list[Comparison]:
    """Return the sweep of the settings and the variants of the method, on seeds that the study proper does not use."""
    variants = HERE / "sweep.yaml"
    arms = tuple(yaml.safe_load(variants.read_text(encoding="utf-8")))
    seeds = {("grpo", "mcpo"): range(100, 104), arms: range(100, 102)}
    return [replace(testbed("middle", seeds), name="sweep", variants=variants)]


def fresh() -> list[Comparison]:
    """Return what stood first in the sweep, and at `conflict` the plain cosine, on seeds of their own."""
    both, seeds = ("grpo", "mcpo"), range(200, 208)
    middle = testbed("middle", {(*both, *FRESH): seeds})
    conflict = testbed("conflict", {(*both, "mcpo-cosine"): seeds})
    return [
        replace(middle, name="fresh", variants=HERE / "sweep.yaml"),
        replace(conflict, name="fresh-conflict"),
    ]


def room() -> list[Comparison]:
    """Return GRPO against MCPO where GRPO learns in every domain and ends below what can be had, on seeds of their own.

    With the recipe of `full`, code is learned to the full at the ends of the dials, and at `conflict` it takes with it
    what mathematics could gain.
    """
    changes = {
        "temperature": "1.25",
        "evaluation.temperature": "1.25",
        "max_steps": "60",
        "mixture.weights": "{math: 0.36, code: 0.18, logic: 0.46}",
        **{f"problems.{place}.count": "400" for place in range(3)},
    }
    seeds: dict[tuple[str, ...], range] = {("grpo", "mcpo"): range(400, 408)}
    return [replace(testbed(setting, seeds), name=name, changes=changes) for name, setting in ROOM.items()]


def smollm2() -> list[Comparison]:
    """Return GRPO against MCPO on a real small LLM."""
    recipe = HERE / "smollm2.yaml"
    return [Comparison(name="smollm2", recipe=recipe, base="smollm2", seeds={("grpo", "mcpo"): range(3)})]


PARTS = {"full": full, "quick": quick, "sweep": sweep, "fresh": fresh, "room": room, "smollm2": smollm2}
"""What `python -m study PART` runs."""
