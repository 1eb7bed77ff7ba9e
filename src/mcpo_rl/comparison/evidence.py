"""Tables of what backs the comparison: the tests of the differences, and the learning curves."""

from __future__ import annotations

from collections.abc import Iterator

from mcpo_rl.comparison.cells import NOTHING, Cell, Grid, cell_of
from mcpo_rl.comparison.curves import MEAN, StepsToTarget
from mcpo_rl.comparison.result import ComparisonResult
from mcpo_rl.comparison.rows import Differences
from mcpo_rl.comparison.seeds import PairedEstimate, SeedEstimate


def difference_grid(result: ComparisonResult, *, domains: bool = False) -> Grid:
    """Return the tests of the differences, a row each: in accuracy to the reference and to `single`, and in area.

    Args:
        result: The result.
        domains: Those of each domain as well.
    """
    head = ["difference", "value", "pairs of seeds", "p", "p (Holm)", "p (sign flips)", "simultaneous 95% interval"]
    grid = [[Cell(name) for name in head]]
    for name in ("against", "over_single"):
        for row in result.rows:
            found: Differences | None = getattr(row, name)
            if found is None or (name == "over_single" and found.method == result.reference):
                continue
            label = f"{row.label} minus {result.plan.method(found.method).label}"
            grid += _tested(label, found.mean)
            grid += [cells for d in result.domains if domains for cells in _tested(f"{label}, {d}", found.domains[d])]
    for row in result.rows:
        if row.progress is not None and MEAN in row.progress.against:
            grid += _tested(f"{row.label} minus {_reference(result)}, area", row.progress.against[MEAN])
    return grid


def _tested(label: str, one: PairedEstimate) -> Grid:
    """Return the row of a difference; none where there is no test."""
    if one.p_sign_flip is None:
        return []
    both = "" if one.simultaneous is None else f"{one.simultaneous[0]:+.3f}, {one.simultaneous[1]:+.3f}"
    tests = [Cell(_p(p)) for p in (one.p, one.p_holm, one.p_sign_flip)]
    return [[Cell(label), cell_of(one, signed=True), Cell(str(len(one.seeds))), *tests, Cell(both or NOTHING)]]


def difference_notes(result: ComparisonResult) -> Iterator[str]:
    """Yield what has to be known to read the tests."""
    found = [one.mean for row in result.rows for one in (row.against, row.over_single) if one is not None]
    if not any(one.p is not None for one in found):
        return
    yield (
        "Differences are paired over the seeds that both have. p: paired t test; p (sign flips): permutation test over "
        "the seeds, at least 2 / 2^n with n of them."
    )
    if any(one.family > 1 for one in found):
        yield (
            "p (Holm), * and the simultaneous intervals allow for the number of methods that are held against the same "
            "other one (by domain: for that of methods times domains). The other intervals are those of single "
            "comparisons: of many, one in twenty leaves out 0 by chance."
        )


def curve_grid(result: ComparisonResult) -> Grid:
    """Return the areas under the learning curves and the steps to the targets: a row per method that has curves."""
    names = [*result.domains, MEAN]
    reached = [name for name in names if name in result.targets.levels]
    against = any(MEAN in row.progress.against for row in result.rows if row.progress is not None)
    head = ["learning curve", *(f"area {name or 'mean'}" for name in names)]
    head += [f"area minus {_reference(result)}"] if against else []
    head += [f"steps to {result.targets.levels[name]:.2f} {name or 'mean'}" for name in reached]
    grid = [[Cell(name) for name in head]]
    for row in result.rows:
        if row.progress is None:
            continue
        cells = [_area(row.progress.area.get(name)) for name in names]
        if against:
            other = row.progress.against.get(MEAN)
            cells.append(Cell("") if other is None else cell_of(other, signed=True))
        cells += [_steps(row.progress.steps.get(name), result.plan.steps) for name in reached]
        grid.append([Cell(row.label), *cells])
    return grid


def curve_notes(result: ComparisonResult) -> Iterator[str]:
    """Yield what has to be known to read the learning curves."""
    if not any(row.progress is not None for row in result.rows):
        return
    window = result.targets.window
    yield (
        "area: mean over the steps of the accuracy of the rollouts of that step, before its update. It is that of "
        "problems not trained on yet for as long as no problem comes a second time."
    )
    if result.targets.levels:
        origin = "" if result.targets.given else f", halfway from where {_reference(result)} begins to where it ends"
        yield (
            f"steps: the first at which half of the runs had reached the target{origin}, as a mean over the last "
            f"{window} steps; in brackets how many of the runs ever did."
        )
    for name in [*result.domains, MEAN]:
        if name not in result.targets.levels and not result.targets.given:
            yield (
                f"There is no target for {name or 'the mean'}: the curve of {_reference(result)} is missing or does "
                "not rise. Give one with --target."
            )


def _reference(result: ComparisonResult) -> str:
    return NOTHING if result.reference is None else result.plan.method(result.reference).label


def _area(one: SeedEstimate | None) -> Cell:
    return Cell(NOTHING) if one is None else cell_of(one)


def _steps(one: StepsToTarget | None, most: int) -> Cell:
    if one is None:
        return Cell(NOTHING)
    median = f">{most}" if one.median is None else str(one.median)
    return Cell(f"{median} ({one.reached}/{len(one.seeds)})")


def _p(p: float | None) -> str:
    if p is None:
        return NOTHING
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
