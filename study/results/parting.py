"""From which step on do a method's rollouts differ from GRPO's? `parting.csv`, from the learning curves.

With the same seed the methods draw the same prompts with the same random numbers. As long as a method has hardly moved
the policy, its rollouts are the same ones, and so are their accuracies: what is measured up to there tells nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from study.results.files import Row, read_csv
from study.results.reading import Compared

COLUMNS = ("comparison", "method", "seeds", "first", "median", "last", "never", "steps")


def parting_rows(compared: Compared, curves: Path) -> Iterator[Row]:
    """Yield per method the first step whose accuracies differ from the reference's in some domain, over the seeds.

    `first`, `median` and `last` are of the seeds that part at all, `never` counts the others.

    Args:
        compared: The comparison.
        curves: Its curves.csv.
    """
    found: dict[str, dict[int, dict[int, dict[str, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for row in read_csv(curves):
        found[row["method"]][row["seed"]][row["step"]][row["domain"]] = row["accuracy"]
    reference = found.get(compared.data["reference"], {})
    for own in compared.rows:
        seeds = {seed: curve for seed, curve in found.get(own["method"], {}).items() if seed in reference}
        if own["method"] == compared.data["reference"] or not seeds:
            continue
        parted = [step for seed, curve in seeds.items() if (step := _parting(curve, reference[seed])) is not None]
        ends = {"first": min(parted), "median": median(parted), "last": max(parted)} if parted else {}
        yield {
            "comparison": compared.name,
            "method": own["method"],
            "seeds": len(seeds),
            **ends,
            "never": len(seeds) - len(parted),
            "steps": max(step for curve in seeds.values() for step in curve),
        }


def _parting(curve: dict[int, dict[str, float]], reference: dict[int, dict[str, float]]) -> int | None:
    return next((step for step in sorted(curve) if curve[step] != reference.get(step)), None)
