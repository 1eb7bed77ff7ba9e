"""One method minus another, seed by seed: `differences.csv`; and GRPO against MCPO over the settings: `headline.csv`.

The tests are those of the comparisons (paired over the seeds, adjusted by Holm for the methods of a comparison). The
headline asks one question at several settings of the dials, so there p is adjusted once more: for every quantity, by
Holm over the settings, and for the mean of the settings over the quantities. The settings with room are a family of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from mcpo_rl.comparison.seeds import PairedEstimate, corrected, paired_over_seeds
from study.plan import ROOM
from study.results.files import Row
from study.results.reading import MEAN, Compared, held

COLUMNS = (
    "comparison", "method", "label", "minus", "quantity", "domain", "seeds", "better", "value", "low", "high", "p",
    "p_holm", "tests", "p_sign_flip", "problems_low", "problems_high", "clear",
)  # fmt: skip
TOGETHER, ROOM_TOGETHER = "mean of the settings", "mean of the settings with room"
"""In the place of a setting: of every seed the mean difference over the settings, one test for all of them."""
HEADLINE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    TOGETHER: ("shared", "middle", "conflict"),
    ROOM_TOGETHER: tuple(ROOM),
}
"""Families of tests: the settings of each, under the name of their mean."""
HEADLINE_QUANTITIES = ("accuracy", "area", "worst-domain gain")
ACCURACY, AREA, WORST = HEADLINE_QUANTITIES


def difference_rows(compared: Compared) -> Iterator[Row]:
    """Yield the differences of a comparison: in accuracy to the reference and to `single`, in area, in worst gain."""
    for row in compared.rows:
        for against in (row["against"], row["over_single"]):
            if against is not None:
                own = {MEAN: against["mean"], **against["domains"]}
                for domain, one in own.items():
                    yield _row(compared, row, against["method"], ACCURACY, domain, one)
        if row.get("auc_against") is not None:
            own = {MEAN: row["auc_against"]["mean"], **row["auc_against"]["domains"]}
            for domain, one in own.items():
                if one is not None:
                    yield _row(compared, row, compared.data["reference"], AREA, domain, one)
    for row, one in worst_gains(compared):
        yield _row(compared, row, compared.data["reference"], WORST, MEAN, one.to_json())


def worst_gains(compared: Compared) -> list[tuple[Mapping[str, Any], PairedEstimate]]:
    """Return the paired differences of the worst-domain gain to the reference, adjusted for the number of methods."""
    reference = compared.row(compared.data["reference"])
    if reference is None:
        return []
    base = reference["worst_domain_gain"]["seeds"]
    found = {}
    for row in compared.rows:
        own = row["worst_domain_gain"]["seeds"]
        pairs = {int(seed): own[seed] - base[seed] for seed in own if seed in base}
        if row is not reference and pairs:
            found[row["method"]] = paired_over_seeds(pairs)
    adjusted = corrected(found)
    return [(row, adjusted[row["method"]]) for row in compared.rows if row["method"] in adjusted]


def headline_rows(comparisons: Sequence[Compared]) -> Iterator[Row]:
    """Yield MCPO minus GRPO of every quantity at every setting, with p adjusted over them; then their mean.

    Of the mean of the settings there is one test per quantity: there p is adjusted over the quantities.
    """
    for together, settings in HEADLINE_SETTINGS.items():
        yield from _family(together, held(comparisons, *settings), complete=len(settings))


def _family(together: str, settings: Sequence[Compared], *, complete: int) -> Iterator[Row]:
    means = {}
    for quantity in HEADLINE_QUANTITIES:
        found = {c.name: one for c in settings if (one := _headline(c, quantity)) is not None}
        paired = {name: paired_over_seeds({int(s): x for s, x in one["seeds"].items()}) for name, one in found.items()}
        for name, tested in corrected(paired).items():
            problems = found[name].get("problems") or {}
            clear = tested.clear and _same_side(tested, problems)
            yield _headline_row(name, quantity, tested, problems, clear)
        if len(paired) == complete:
            means[quantity] = _together(list(paired.values()))
    for quantity, tested in corrected(means).items():
        yield _headline_row(together, quantity, tested, {}, tested.clear)


def _together(settings: Sequence[PairedEstimate]) -> PairedEstimate:
    """Return the mean over the settings, paired over the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(one.seeds) for one in settings)))
    return paired_over_seeds({seed: fmean(setting.seeds[seed] for setting in settings) for seed in seeds})


def _headline_row(name: str, quantity: str, one: PairedEstimate, problems: Mapping[str, Any], clear: bool) -> Row:
    start = {"comparison": name, "method": "mcpo", "minus": "grpo", "quantity": quantity, "domain": MEAN}
    return {**start, **_estimate(one.to_json(), problems), "clear": clear}


def _headline(compared: Compared, quantity: str) -> Mapping[str, Any] | None:
    row = compared.row("mcpo")
    if row is None or compared.data["reference"] != "grpo":
        return None
    found: Mapping[str, Any] | None
    if quantity == WORST:
        found = next((one.to_json() for own, one in worst_gains(compared) if own is row), None)
    else:
        found = (row.get("against" if quantity == ACCURACY else "auc_against") or {}).get("mean")
    return found if found is not None and found["seeds"] else None


def _row(
    compared: Compared, row: Mapping[str, Any], minus: str, quantity: str, domain: str, one: Mapping[str, Any]
) -> Row:
    return {
        "comparison": compared.name,
        "method": row["method"],
        "label": row["label"],
        "minus": minus,
        "quantity": quantity,
        "domain": domain,
        **_estimate(one, one.get("problems") or {}),
        "clear": one["clear"],
    }


def _estimate(one: Mapping[str, Any], problems: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a paired estimate; an interval over problems alone stands in its own columns."""
    over_seeds = one["over"] == "seeds"
    return {
        "seeds": len(one["seeds"]),
        "better": sum(value > 0 for value in one["seeds"].values()),
        "value": one["value"],
        "low": one["low"] if over_seeds else None,
        "high": one["high"] if over_seeds else None,
        "p": one["p"],
        "p_holm": one["p_holm"],
        "tests": one["family"],
        "p_sign_flip": one["p_sign_flip"],
        "problems_low": problems.get("low"),
        "problems_high": problems.get("high"),
    }


def _same_side(one: PairedEstimate, problems: Mapping[str, Any]) -> bool:
    """Whether the interval over problems, where there is one, leaves 0 out on the side of the difference."""
    if not problems:
        return True
    return bool(problems["low"] > 0) if one.value > 0 else bool(problems["high"] < 0)
