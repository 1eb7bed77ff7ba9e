"""The result as tables: for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mcpo_rl.comparison.methods import BUDGETS
from mcpo_rl.comparison.outcomes import Cost
from mcpo_rl.comparison.result import ComparisonResult, Differences
from mcpo_rl.comparison.seeds import FEWEST_SEEDS, SeedDifference, SeedEstimate
from mcpo_rl.runs.files import write_text

NOTHING = "-"


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    value: str
    interval: str = ""
    mark: bool = False
    """A clear difference."""
    problems: bool = False
    """The interval is over problems, not over seeds."""


Grid = list[list[Cell]]
"""Rows, the head first."""


def save_tables(result: ComparisonResult) -> None:
    """Write comparison.md and comparison.tex into the comparison's directory.

    Raises:
        RunError: A file could not be written.
    """
    write_text(result.plan.path / "comparison.md", markdown(result))
    write_text(result.plan.path / "comparison.tex", latex(result))


def text(result: ComparisonResult) -> str:
    """Return both tables and the notes for a terminal."""
    parts = [_aligned(accuracy_grid(result)), _aligned(cost_grid(result)), "\n".join(notes(result))]
    return "\n\n".join(parts)


def markdown(result: ComparisonResult) -> str:
    """Return both tables and the notes in Markdown."""
    tables = []
    for grid in (accuracy_grid(result), cost_grid(result)):
        lines = ["| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in row) + " |" for row in grid]
        rule = "| --- |" + " ---: |" * (len(grid[0]) - 1)
        tables.append("\n".join([lines[0], rule, *lines[1:]]))
    listed = "\n".join(f"- {note}" for note in notes(result))
    return "\n\n".join(["# Comparison", *tables, listed]) + "\n"


def latex(result: ComparisonResult) -> str:
    r"""Return both tables as LaTeX `tabular`s with booktabs' rules; the notes are comments."""
    tables = []
    for grid in (accuracy_grid(result), cost_grid(result)):
        columns = "l" + "r" * (len(grid[0]) - 1)
        body = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in grid]
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
        tables.append("\n".join([*lines, r"\end{tabular}"]))
    said = "\n".join(f"% {note}" for note in notes(result))
    return "% \\usepackage{booktabs}\n" + said + "\n\n" + "\n\n".join(tables) + "\n"


def accuracy_grid(result: ComparisonResult) -> Grid:
    """Return the table of accuracies, gains and differences: a row per method, the start first."""
    domains = [*result.domains, *result.untrained]
    single = any(row.over_single is not None for row in result.rows)
    against = result.reference is not None and any(row.against is not None for row in result.rows)
    head = ["accuracy", *domains, "mean", "worst-domain gain", *(["over single-domain"] if single else [])]
    if against and result.reference is not None:
        head.append(f"minus {result.plan.method(result.reference).label}")
    grid = [[Cell(name) for name in head]]
    start = [_cell(result.start[domain]) for domain in domains]
    empty = [Cell("")] * (1 + single + against)
    grid.append([Cell("start"), *start, _cell(result.start_mean), *empty])
    for row in result.rows:
        cells = [_cell(row.accuracy[domain]) for domain in domains]
        cells += [_cell(row.mean), _cell(row.worst_domain_gain, signed=True)]
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
        f"Held-out accuracy after training; {_seeds(plan.seeds)}; every method starts from {plan.recipe['model']} with "
        f"the same problems{order}."
    )
    yield f"Budget {plan.budget}: {BUDGETS[plan.budget]}."
    if len(plan.seeds) > 1:
        yield (
            "[low, high]: 95% interval over seeds (Student's t): how much another seed would change, not which "
            "problems were asked."
        )
    cells = [cell for row in accuracy_grid(result) for cell in row]
    if any(cell.problems for cell in cells):
        yield (
            "(low, high): 95% interval over the held-out problems, where one seed, or seeds that all agree, give none "
            "over seeds."
        )
    if any(cell.mark for cell in cells):
        yield f"*: {FEWEST_SEEDS} seeds or more, and the intervals over seeds and over problems both leave 0 out."
    if any(row.definition.kind == "merge" for row in result.rows):
        yield "What is merged costs what its specialists cost; they are those of single-domain, and were trained once."
    yield "Worst-domain gain: of every seed the smallest of the domains' gains over the start, averaged over the seeds."
    if len(result.rows) > 2:
        yield "Of many such intervals one in twenty leaves out 0 by chance."
    for row in result.rows:
        for seed, reason in row.missing.items():
            yield f"{row.label}, seed {seed}, is missing: {reason}."
    yield from result.remarks


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _cell(estimate: SeedEstimate, *, signed: bool = False) -> Cell:
    if math.isnan(estimate.value):
        return Cell(NOTHING)
    sign = "+" if signed else ""
    value = f"{estimate.value:{sign}.3f}"
    if estimate.over is None:
        return Cell(value)
    interval = f"{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}"
    mark = isinstance(estimate, SeedDifference) and estimate.clear
    return Cell(value, interval, mark=mark, problems=estimate.over == "problems")


def _difference(differences: Differences | None) -> Cell:
    return Cell("") if differences is None else _cell(differences.mean, signed=True)


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


def _plain(cell: Cell) -> str:
    if not cell.interval:
        return cell.value
    interval = f"({cell.interval})" if cell.problems else f"[{cell.interval}]"
    return f"{cell.value} {interval}{'*' if cell.mark else ''}"


def _aligned(grid: Grid) -> str:
    texts = [[_plain(cell) for cell in row] for row in grid]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in texts
    ]
    return "\n".join(lines)


_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {character: f"\\{character}" for character in "&%$#_{}"}
)


def _latex_cell(cell: Cell) -> str:
    value = cell.value.translate(_LATEX)
    if value[:1] in ("+", "-") and len(value) > 1:
        value = f"${value}$"
    if not cell.interval:
        return value
    interval = f"({cell.interval})" if cell.problems else f"[{cell.interval}]"
    return rf"{value}{'$^*$' if cell.mark else ''} {{\scriptsize ${interval}$}}"
