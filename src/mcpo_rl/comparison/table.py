"""The result as tables: for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from mcpo_rl.comparison.cells import NOTHING, Cell, Grid, cell_of, latex_source, plain_text
from mcpo_rl.comparison.evidence import curve_grid, curve_notes, difference_grid, difference_notes
from mcpo_rl.comparison.methods import BUDGETS
from mcpo_rl.comparison.outcomes import Cost
from mcpo_rl.comparison.plan import Plan
from mcpo_rl.comparison.result import ComparisonResult
from mcpo_rl.comparison.rows import Differences
from mcpo_rl.comparison.seeds import FEWEST_SEEDS
from mcpo_rl.runs.files import write_text


def save_tables(result: ComparisonResult) -> None:
    """Write comparison.md and comparison.tex into the comparison's directory.

    Raises:
        RunError: A file could not be written.
    """
    write_text(result.plan.path / "comparison.md", markdown(result))
    write_text(result.plan.path / "comparison.tex", latex(result))


def text(result: ComparisonResult) -> str:
    """Return the tables and the notes for a terminal."""
    return "\n\n".join([*map(_aligned, _grids(result)), "\n".join(notes(result))])


def markdown(result: ComparisonResult) -> str:
    """Return the tables and the notes in Markdown."""
    tables = []
    for grid in _grids(result, domains=True):
        lines = ["| " + " | ".join(plain_text(cell).replace("|", "\\|") for cell in row) + " |" for row in grid]
        rule = "| --- |" + " ---: |" * (len(grid[0]) - 1)
        tables.append("\n".join([lines[0], rule, *lines[1:]]))
    listed = "\n".join(f"- {note}" for note in notes(result))
    return "\n\n".join(["# Comparison", *tables, listed]) + "\n"


def latex(result: ComparisonResult) -> str:
    r"""Return the tables as LaTeX `tabular`s with booktabs' rules; the notes are comments."""
    tables = []
    for grid in _grids(result):
        columns = "l" + "r" * (len(grid[0]) - 1)
        body = [" & ".join(latex_source(cell) for cell in row) + r" \\" for row in grid]
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
        tables.append("\n".join([*lines, r"\end{tabular}"]))
    said = "\n".join(f"% {note}" for note in notes(result))
    return "% \\usepackage{booktabs}\n" + said + "\n\n" + "\n\n".join(tables) + "\n"


def _grids(result: ComparisonResult, *, domains: bool = False) -> list[Grid]:
    """Return the tables that have something to show; those of tests by domain as well where asked for."""
    grids = [accuracy_grid(result), difference_grid(result, domains=domains), curve_grid(result), cost_grid(result)]
    return [grid for grid in grids if len(grid) > 1]


def accuracy_grid(result: ComparisonResult) -> Grid:
    """Return the table of accuracies, gains and differences: a row per method, the start first."""
    domains = [*result.domains, *result.untrained]
    single = any(row.over_single is not None for row in result.rows)
    against = result.reference is not None and any(row.against is not None for row in result.rows)
    uneven = len({len(row.seeds) for row in result.rows}) > 1
    head = [
        "accuracy",
        *(["seeds"] if uneven else []),
        *domains,
        "mean",
        "worst-domain gain",
        *(["over single-domain"] if single else []),
    ]
    if against and result.reference is not None:
        head.append(f"minus {result.plan.method(result.reference).label}")
    grid = [[Cell(name) for name in head]]
    start = [cell_of(result.start[domain]) for domain in domains]
    empty = [Cell("")] * (1 + single + against)
    grid.append([Cell("start"), *([Cell("")] if uneven else []), *start, cell_of(result.start_mean), *empty])
    for row in result.rows:
        cells = [Cell(str(len(row.seeds)))] if uneven else []
        cells += [cell_of(row.accuracy[domain]) for domain in domains]
        cells += [cell_of(row.mean), cell_of(row.worst_domain_gain, signed=True)]
        cells += [_difference(row.over_single)] if single else []
        cells += [_difference(row.against)] if against else []
        grid.append([Cell(row.label), *cells])
    return grid


def cost_grid(result: ComparisonResult) -> Grid:
    """Return what each method spent per seed: rollouts by domain and in all, steps, tokens, time."""
    domains = list(result.plan.order)
    head = ["per seed", "runs", "steps", *(f"rollouts {domain}" for domain in domains), "rollouts", "tokens", "time"]
    grid = [[Cell(name) for name in head]]
    for row in result.rows:
        grid.append([Cell(row.label), *(_costs(row.cost, domains) if row.seeds else [Cell(NOTHING)] * (len(head) - 1))])
    return grid


def notes(result: ComparisonResult) -> Iterator[str]:
    """Yield what has to be known to read the tables."""
    plan = result.plan
    order = "" if plan.remarks else " in the same order"
    yield (
        f"Held-out accuracy after training; {_seeds(plan)}; every method starts from {plan.recipe['model']} with "
        f"the same problems{order}."
    )
    yield f"Budget {plan.budget}: {BUDGETS[plan.budget]}."
    if len(plan.seeds) > 1:
        yield (
            "[low, high]: 95% interval over seeds (Student's t): how much another seed would change, not which "
            "problems were asked."
        )
    cells = [cell for grid in _grids(result) for row in grid for cell in row]
    if any(cell.problems for cell in cells):
        yield (
            "(low, high): 95% interval over the held-out problems, where one seed, or seeds that all agree, give none "
            "over seeds."
        )
    if any(cell.mark for cell in cells):
        yield (
            f"*: {FEWEST_SEEDS} seeds or more, the intervals over seeds and (of an accuracy) over problems leave 0 "
            "out, and p (Holm) is at most 0.05."
        )
    if any(row.definition.kind == "merge" for row in result.rows):
        yield "What is merged costs what its specialists cost; they are those of single-domain, and were trained once."
    yield "Worst-domain gain: of every seed the smallest of the domains' gains over the start, averaged over the seeds."
    yield from difference_notes(result)
    yield from curve_notes(result)
    for row in result.rows:
        for seed, reason in row.missing.items():
            yield f"{row.label}, seed {seed}, is missing: {reason}."
    yield from result.remarks


def _seeds(plan: Plan) -> str:
    own = [f"{plan.method(name).label} {', '.join(map(str, seeds))}" for name, seeds in plan.own_seeds.items()]
    said = f"{'seed' if len(plan.seeds) == 1 else 'seeds'} {', '.join(map(str, plan.seeds))}"
    return f"{said} ({'; '.join(own)})" if own else said


def _difference(differences: Differences | None) -> Cell:
    return Cell("") if differences is None else cell_of(differences.mean, signed=True)


def _costs(cost: Cost, domains: Sequence[str]) -> list[Cell]:
    numbers: list[str] = [str(cost.runs), f"{cost.steps:,}"]
    numbers += [f"{cost.domains.get(domain, 0.0):,.0f}" for domain in domains]
    resampled = f" + {cost.resampled:,.0f}" if cost.resampled else ""
    numbers.append(f"{cost.rollouts:,.0f}{resampled}")
    numbers.append(_unless_nan(cost.tokens, lambda tokens: f"{tokens:,.0f}"))
    numbers.append(_unless_nan(cost.seconds, duration))
    return [Cell(number) for number in numbers]


def duration(seconds: float) -> str:
    """Return seconds as people say them: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _unless_nan(value: float, show: Callable[[float], str]) -> str:
    return NOTHING if math.isnan(value) else show(value)


def _aligned(grid: Grid) -> str:
    texts = [[plain_text(cell) for cell in row] for row in grid]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in texts
    ]
    return "\n".join(lines)
