r"""What the chosen positives have in common with their anchors, held against the known truth: `positives.csv`.

On the testbed a rollout's opening and the convention of its problem's family say whether it is careful. For the pairs
(i, p) of an anchor and a chosen positive three things are counted: both are careful; both have the same strategy
(careful or hasty); both begin with the same opening, whatever it means in their families. Each is held against what
choosing at random would give, $\frac{1}{|E_i|} \sum_{j \in E_i} [\dots]$ with $E_i$ the usable correct rollouts of
other domains, averaged over the same pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from mcpo_rl.comparison.seeds import SeedEstimate, over_seeds, paired_over_seeds
from mcpo_rl.data.procedural.conventions import FAMILIES_USED, Dials, opening_of
from mcpo_rl.data.sources.loading import load_problems
from mcpo_rl.runs import RolloutBatch
from study.results.dials import family_of
from study.results.files import Row
from study.results.reading import Compared

LIKENESS = ("both_careful", "same_strategy", "same_opening")
COLUMNS = (
    "comparison", "method", "seed", "step", "rollouts", "careful", "hasty", "correct_careful", "correct_hasty",
    "anchors", "with_positive", "pairs", *(name for like in LIKENESS for name in (like, f"{like}_by_chance")),
)  # fmt: skip
SUMMARY_COLUMNS = (
    "comparison", "method", "label", "when", "quantity", "seeds", "value", "low", "high", "by_chance", "excess",
    "excess_low", "excess_high", "clear",
)  # fmt: skip

BEFORE, DURING = "before training", "in training"
"""The rollouts of step 0 are the base model's; nothing has been learned yet."""

Families = Mapping[str, str]
"""The last message of a prompt to the family of its problem."""


def positive_rows(compared: Compared) -> Iterator[Row]:
    """Yield a row per method with a contrastive term, seed and step whose rollouts were kept; none without dials."""
    if compared.dials is None:
        return
    families = families_of(compared)
    for row in compared.rows:
        for seed, _, run in compared.runs(row["method"]):
            for step in run.rollout_steps():
                batch = run.read_rollouts(step)[0]
                if batch.term:
                    found = structure(batch, families, compared.dials)
                    yield {"comparison": compared.name, "method": row["method"], "seed": seed, "step": step, **found}


def families_of(compared: Compared) -> Families:
    """Return the families of the problems that a comparison trains on; none for problems of no known family."""
    entries = [entry for entry in compared.recipe.get("problems", []) if entry.get("source") == "procedural"]
    return {
        _question(problem.prompt): family_of(problem.source) for entry in entries for problem in load_problems(entry)
    }


def structure(batch: RolloutBatch, families: Families, dials: Dials) -> dict[str, float | int]:
    """Return the counts of one batch and, over its pairs, the shares that are alike and those expected by chance.

    Args:
        batch: Rollouts of one step with the positives that were chosen.
        families: See `Families`.
        dials: Those of the base model.
    """
    openings = [opening_of(completion) for completion in batch.completions]
    careful = [_strategy(batch, row, opening, families, dials) for row, opening in enumerate(openings)]
    eligible = [c and u for c, u in zip(batch.correct, batch.usable, strict=True)]
    sums: dict[str, float] = defaultdict(float)
    pairs = 0
    for row, chosen in enumerate(batch.positives):
        others = [j for j, good in enumerate(eligible) if good and batch.domains[j] != batch.domains[row]]
        for name, like in _likeness(careful, openings, row).items():
            sums[name] += sum(like[j] for j in chosen)
            sums[f"{name}_by_chance"] += len(chosen) * fmean([like[j] for j in others]) if chosen and others else 0.0
        pairs += len(chosen)
    counts = {
        "rollouts": len(batch),
        "careful": sum(flag is True for flag in careful),
        "hasty": sum(flag is False for flag in careful),
        "correct_careful": sum(right and flag is True for right, flag in zip(batch.correct, careful, strict=True)),
        "correct_hasty": sum(right and flag is False for right, flag in zip(batch.correct, careful, strict=True)),
        "anchors": sum(eligible),
        "with_positive": sum(bool(chosen) for chosen in batch.positives),
        "pairs": pairs,
    }
    return counts | ({name: value / pairs for name, value in sums.items()} if pairs else {})


def summary_rows(rows: Sequence[Row], labels: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """Yield per comparison, method and `when`, over the kept steps: how often there is a positive, and what it is.

    Args:
        rows: Of `positives.csv`.
        labels: (comparison, method) to the method as it stands in tables.
    """
    groups: dict[tuple[str, str, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        when = DURING if row["step"] else BEFORE
        groups[row["comparison"], row["method"], when][row["seed"]].append(row)
    for (comparison, method, when), seeds in groups.items():
        label = labels.get((comparison, method), method)
        start = {"comparison": comparison, "method": method, "label": label, "when": when}
        shares = {
            "has a positive": ("with_positive", "anchors"),
            "correct, careful": ("correct_careful", "careful"),
            "correct, hasty": ("correct_hasty", "hasty"),
            "careful": ("careful", "rollouts"),
        }
        for quantity, (part, whole) in shares.items():
            yield start | {"quantity": quantity, **_numbers(over_seeds(_ratios(seeds, part, whole), unit=True))}
        for like in LIKENESS:
            own, chance = (_pooled(seeds, name) for name in (like, f"{like}_by_chance"))
            if own:
                excess = paired_over_seeds({seed: own[seed] - chance[seed] for seed in own})
                yield start | {
                    "quantity": like.replace("_", " "),
                    **_numbers(over_seeds(own, unit=True)),
                    "by_chance": fmean(chance.values()),
                    "excess": excess.value,
                    "excess_low": excess.low,
                    "excess_high": excess.high,
                    "clear": excess.clear,
                }


def _strategy(batch: RolloutBatch, row: int, opening: str | None, families: Families, dials: Dials) -> bool | None:
    """Return whether a rollout announces care in the convention of its family; None where it announces neither."""
    family = families.get(_question(batch.prompts[row]))
    domain = batch.domains[row]
    if family not in FAMILIES_USED.get(domain, ()) or family is None:
        return None
    careful, hasty = dials.openings(domain, family)
    return True if opening == careful else False if opening == hasty else None


def _likeness(careful: Sequence[bool | None], openings: Sequence[str | None], row: int) -> dict[str, Sequence[bool]]:
    """Return of every rollout whether it is like rollout `row`, in each of the three ways."""
    known = careful[row] is not None
    return {
        "both_careful": [careful[row] is True and other is True for other in careful],
        "same_strategy": [known and other is careful[row] for other in careful],
        "same_opening": [openings[row] is not None and other == openings[row] for other in openings],
    }


def _question(prompt: object) -> str:
    return str(prompt[-1]["content"]) if isinstance(prompt, list) else str(prompt)


def _ratios(seeds: Mapping[int, Iterable[Row]], part: str, whole: str) -> dict[int, float]:
    sums = {seed: (sum(row[part] for row in rows), sum(row[whole] for row in rows)) for seed, rows in seeds.items()}
    return {seed: top / bottom for seed, (top, bottom) in sums.items() if bottom}


def _pooled(seeds: Mapping[int, Iterable[Row]], name: str) -> dict[int, float]:
    """Return the share over all pairs of a seed."""
    found = {}
    for seed, rows in seeds.items():
        known = [(row["pairs"], row[name]) for row in rows if row["pairs"]]
        if known:
            found[seed] = sum(pairs * share for pairs, share in known) / sum(pairs for pairs, _ in known)
    return found


def _numbers(one: SeedEstimate) -> Row:
    return {"seeds": len(one.seeds), "value": one.value, "low": one.low, "high": one.high}
