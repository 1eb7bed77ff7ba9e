"""What the dials did, with GRPO alone: gradient cosines between domains, and what training on one did to another.

The effect is on its held-out accuracy, and on the share of its answers that begin with the opening of care.
`dials.csv` holds every seed; `dials_summary.csv` the means over seeds with Student's interval, and the differences
between settings that tell whether the dials order them as they should: shared > apart > conflict. Where domains share
the meaning of the openings, learning to be careful in mathematics should help the others; where it is reversed, harm.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from mcpo_rl.comparison.seeds import over_seeds, paired_over_seeds
from mcpo_rl.data.procedural.conventions import FAMILIES_USED, SOURCE_DOMAIN, Dials, opening_of
from mcpo_rl.evaluation.completions import completions_path, read_completions
from mcpo_rl.runs import RunDirectory
from mcpo_rl.scores import EvaluationRecord
from study.bases import probe_set
from study.results.files import Row
from study.results.reading import Compared

COLUMNS = ("comparison", "measure", "from", "to", "family", "convention", "seed", "step", "value")
SUMMARY_COLUMNS = (
    "comparison", "minus", "measure", "from", "to", "family", "convention", "seeds", "value", "low", "high", "clear",
)  # fmt: skip
COSINE, EFFECT, RELIABILITY, OPENING = "gradient cosine", "effect", "reliability", "careful openings"
EXPECTED = ("shared", "apart", "conflict")
"""The settings from the one that should help most to the one that should harm."""


def dial_rows(compared: Compared) -> Iterator[Row]:
    """Yield the cosines of GRPO's runs by step, and what each specialist did to every domain; none without dials."""
    if compared.dials is None:
        return
    for seed, _, run in compared.runs("grpo"):
        yield from _cosines(compared, seed, run)
    for seed, domain, run in compared.runs("single"):
        yield from _effects(compared, seed, domain, run)
        yield from _openings(compared, seed, domain, run)


def summary_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield means over the seeds (a cosine: first over the steps), then the differences between neighbours in order."""
    by_seed = _by_seed(rows)
    for key, values in by_seed.items():
        one = over_seeds(values)
        yield _summary(key, None, len(one.seeds), one.value, one.low, one.high, None)
    for upper, lower in combinations(EXPECTED, 2):
        for key, values in by_seed.items():
            comparison, measure, source, target, family, _ = key
            if comparison != upper or family or measure not in (COSINE, EFFECT) or source == target:
                continue
            other = by_seed.get((lower, measure, source, target, None, None))
            pairs = {seed: value - other[seed] for seed, value in values.items() if seed in other} if other else {}
            if pairs:
                gap = paired_over_seeds(pairs)
                yield _summary(key, lower, len(pairs), gap.value, gap.low, gap.high, gap.clear)


Key = tuple[str, str, str, str, str | None, str | None]
"""Comparison, measure, from, to, family, convention."""
Shares = Mapping[tuple[str, str], float]
"""By domain ('' as family) and by family."""


def _by_seed(rows: Iterable[Row]) -> dict[Key, dict[int, float]]:
    found: dict[Key, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = (row["comparison"], row["measure"], row["from"], row["to"], row.get("family"), row.get("convention"))
        found[key][row["seed"]].append(row["value"])
    return {key: {seed: fmean(values) for seed, values in own.items()} for key, own in found.items()}


def _summary(key: Key, minus: str | None, seeds: int, value: float, low: float, high: float, clear: bool | None) -> Row:
    names = ("comparison", "measure", "from", "to", "family", "convention")
    numbers = {"minus": minus, "seeds": seeds, "value": value, "low": low, "high": high, "clear": clear}
    return dict(zip(names, key, strict=True)) | numbers


def _cosines(compared: Compared, seed: int, run: RunDirectory) -> Iterator[Row]:
    lines = run.read_metrics()
    start = {"comparison": compared.name, "seed": seed}
    for a, b in combinations(_source_first(compared.domains), 2):
        first, second = sorted((a, b))
        for line in lines:
            value = line.get(f"interference/cosine/{first}/{second}")
            if _number(value):
                yield start | {"measure": COSINE, "from": a, "to": b, "step": line["step"], "value": value}
    for domain in compared.domains:
        for line in lines:
            value = line.get(f"interference/reliability/{domain}")
            if _number(value):
                yield start | {
                    "measure": RELIABILITY, "from": domain, "to": domain, "step": line["step"], "value": value,
                }  # fmt: skip


def _effects(compared: Compared, seed: int, trained: str, run: RunDirectory) -> Iterator[Row]:
    if not (run.eval_file.is_file() and run.start_eval_file.is_file()):
        return
    before, after = (_accuracies(EvaluationRecord.read(file)) for file in (run.start_eval_file, run.eval_file))
    yield from _changes(compared, EFFECT, seed, trained, before, after)


def _openings(compared: Compared, seed: int, trained: str, run: RunDirectory) -> Iterator[Row]:
    """Yield how the share of answers that begin with the opening of care changed, from the base model's probe set."""
    model = Path(str(compared.recipe["model"])).name
    files = [completions_path(probe_set(compared.path.parent / "models", model)), completions_path(run.eval_file)]
    if compared.dials is None or not all(file.is_file() for file in files):
        return
    before, after = (_careful(read_completions(file), compared.dials) for file in files)
    yield from _changes(compared, OPENING, seed, trained, before, after)


def _changes(compared: Compared, measure: str, seed: int, trained: str, before: Shares, after: Shares) -> Iterator[Row]:
    for (domain, family), value in after.items():
        if (domain, family) in before:
            yield {
                "comparison": compared.name,
                "measure": measure,
                "from": trained,
                "to": domain,
                "family": family or None,
                "convention": _convention(compared.dials, domain, family),
                "seed": seed,
                "value": value - before[domain, family],
            }


def _careful(answers: Sequence[Mapping[str, Any]], dials: Dials) -> dict[tuple[str, str], float]:
    """Return the share of answers that begin with the opening of care, by domain ('' as family) and by family."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for answer in answers:
        domain, family = answer["domain"], family_of(answer["source"])
        careful = opening_of(answer["completion"]) == dials.openings(domain, family)[0]
        for key in ("", family):
            found[domain, key].append(careful)
    return {key: fmean(values) for key, values in found.items()}


def _accuracies(record: EvaluationRecord) -> dict[tuple[str, str], float]:
    """Return the mean over problems of the share of correct completions, by domain ('' as family) and by family."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for score in record.scores:
        if score.scored:
            for family in ("", family_of(score.source)):
                found[score.domain, family].append(score.correct / score.scored)
    return {key: fmean(values) for key, values in found.items()}


def family_of(source: str) -> str:
    """Return the family of a problem's source.

    Example:
        >>> family_of("procedural/chain")
        'chain'
    """
    return source.rpartition("/")[2]


def _convention(dials: Dials | None, domain: str, family: str) -> str | None:
    known = dials is not None and family in FAMILIES_USED.get(domain, ())
    return dials.convention(domain, family) if known and dials is not None else None


def _source_first(domains: Sequence[str]) -> list[str]:
    """Return the domains with the one where care is a habit before the others."""
    return sorted(domains, key=lambda domain: (domain != SOURCE_DOMAIN, domain))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
