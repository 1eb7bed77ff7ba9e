"""The effect matrix: what training on some domains did to each domain, on held-out problems.

Axes: n problems of a domain, R runs of one row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.sections.matrices import Pair, matrix_panel, reach_of
from mcpo_rl.analysis.sections.palette import ordered
from mcpo_rl.analysis.sections.panel import Group, Section, Table
from mcpo_rl.analysis.sections.wording import listed, sign, signed
from mcpo_rl.scores import Estimate, EvaluationRecord, ProblemScore, bootstrap_mean
from mcpo_rl.scores.paired import Difference
from mcpo_rl.scores.permutation import sign_flip_test

Key = tuple[str, str, int]
"""Domain, key and occurrence of a problem: a set may hold the same problem twice."""


@dataclass(frozen=True, kw_only=True)
class EffectMatrix:
    """Accuracy after training minus before it, by what was trained on and what was evaluated."""

    rows: tuple[str, ...]
    """What was trained on: a domain, several, or (where several runs were trained on the same) the method."""
    columns: tuple[str, ...]
    """The evaluated domains."""
    cells: Mapping[Pair, Difference]
    """By (row, column): mean over the problems of the difference of the shares of correct completions, with its 95%
    interval and the p-value of the paired test. Over several runs of a row, of the mean over the runs."""
    trained: Mapping[str, tuple[str, ...]]
    """The domains that each row was trained on."""
    runs: Mapping[str, int]
    """How many runs each row is the mean of."""
    remarks: tuple[str, ...] = ()
    """What was left out, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as plain JSON data."""
        return {
            "rows": [
                {
                    "name": row,
                    "trained": list(self.trained[row]),
                    "runs": self.runs[row],
                    "effects": {c: self.cells[row, c].to_json() for c in self.columns if (row, c) in self.cells},
                }
                for row in self.rows
            ],
            "remarks": list(self.remarks),
        }


def effect_matrix(runs: Sequence[RunData], start: EvaluationRecord | None = None) -> EffectMatrix:
    """Return what the training of each run did to the accuracy of each evaluated domain.

    A cell below 0 with an interval that leaves 0 out is interference that was harmful, one above 0 off the diagonal is
    transfer. Runs that were trained on the same domains with the same method (other seeds) make one row. A run that was
    not evaluated before its training is compared with `start`, or else with the evaluation before training of another
    run with the same base model, on the same problems.

    Args:
        runs: any; those without an evaluation after training, and those on other problems than most, are left out, and
            a remark says so.
        start: an evaluation of the model that all runs started from.
    """
    remarks: list[str] = []
    found: list[tuple[RunData, dict[Key, float]]] = []
    for run in runs:
        before = run.start or start or _start_of_another(run, runs)
        if run.end is None or before is None:
            missing = "after training" if run.end is None else "before training, nor has another of its base model"
            remarks.append(f"{run.name} is left out: it has no evaluation {missing}.")
            continue
        differences = _differences(before, run.end)
        if differences is None:
            remarks.append(f"{run.name} is left out: it was evaluated on other problems before training than after it.")
            continue
        found.append((run, differences))
    return _matrix(*_on_the_same_problems(found, remarks))


def trained_domains(run: RunData) -> tuple[str, ...]:
    """Return the domains that a run was trained on: those that ever had a share of a batch."""
    names = [key.split("/")[1] for key in run.keys if key.startswith("domain/") and key.endswith("/share")]
    return tuple(ordered(name for name in names if any(run.series(f"domain/{name}/share")[1])))


def effects_section(runs: Sequence[RunData]) -> Section:
    """Return the effect matrix as a section of the report."""
    matrix = effect_matrix(runs)
    missing = "No run here was evaluated before and after training, so what it did to each domain is not known."
    if not matrix.rows:
        return Section("effects", _TITLE, "Effects", missing=" ".join([missing, *matrix.remarks]))
    short = {row: short_name(row, matrix) for row in matrix.rows}
    values = {(short[row], column): cell.value for (row, column), cell in matrix.cells.items()}
    panel = matrix_panel(
        "Accuracy after training minus before it",
        matrix.columns,
        values,
        label="Change of held-out accuracy by what was trained on (rows) and what was evaluated (columns)",
        texts={
            (short[row], column): sign(cell.value, 2) + ("*" if cell.clear else "")
            for (row, column), cell in matrix.cells.items()
        },
        hover="trained on %{y}, evaluated on %{x}: %{z:+.3f}",
        reach=reach_of(list(values.values())),
        rows="trained on",
        columns="evaluated on",
        row_names=[short[row] for row in matrix.rows],
        reading="An asterisk: the interval leaves out 0.",
    )
    groups = (Group("", _READING, (panel,), wide=True), Group(table=_table(matrix)))
    return Section("effects", _TITLE, "Effects", groups, tuple(in_words(matrix)))


def short_name(row: str, matrix: EffectMatrix) -> str:
    """Return the name of a row as it fits beside a figure on a phone."""
    trained = matrix.trained[row]
    everything = len(trained) > 1 and set(trained) >= set(matrix.columns)
    return row.replace(" + ".join(trained), "all", 1) if everything else row


def _table(matrix: EffectMatrix) -> Table:
    """Return the cells with their intervals: what can be told from 0 is marked."""
    rows, marked = [], set()
    for place, row in enumerate(matrix.rows):
        cells = [matrix.cells.get((row, column)) for column in matrix.columns]
        rows.append((row, *("–" if cell is None else signed(cell) for cell in cells)))
        marked |= {(place, number) for number, cell in enumerate(cells, 1) if cell is not None and cell.clear}
    columns = ("trained on", *matrix.columns)
    return Table(columns, tuple(rows), frozenset(marked), "Change of held-out accuracy, with intervals")


def in_words(matrix: EffectMatrix) -> list[str]:
    """Return what the matrix says: clear effects on domains that were not trained on, and clear losses."""
    groups: dict[str, list[str]] = defaultdict(list)
    others = 0
    for (row, column), cell in matrix.cells.items():
        own = column in matrix.trained[row]
        others += not own
        if not cell.clear or (own and cell.value > 0):
            continue
        kind = "Lost although it was trained on" if own else "Harmed" if cell.value < 0 else "Helped"
        groups[kind].append(f"{column} by training on {row} {signed(cell)}")
    sentences = [f"{kind}: {listed(items)}." for kind, items in sorted(groups.items())]
    if not groups and others:
        sentences.append("No clear effect of training on one domain on another.")
    several = sorted({count for count in matrix.runs.values() if count > 1})
    if several:
        sentences.append(f"Rows of several runs ({listed(list(map(str, several)))}) are means over them.")
    return [*sentences, *matrix.remarks]


_TITLE = "What training on one domain did to another"
_READING = (
    "Rows: what was trained on. Columns: what was evaluated. Each cell is the change of held-out accuracy with its 95% "
    "interval over the problems. Blue off the diagonal is transfer, orange is interference. One cell in twenty leaves "
    "out 0 by chance; the interval does not cover how much another seed would change."
)


def _matrix(found: Sequence[tuple[RunData, dict[Key, float]]], remarks: Sequence[str]) -> EffectMatrix:
    groups: dict[tuple[tuple[str, ...], str], list[dict[Key, float]]] = defaultdict(list)
    for run, differences in found:
        groups[trained_domains(run), run.family or run.method].append(differences)
    names = _row_names(list(groups))
    columns = tuple(ordered({domain for _, one in found for domain, _, _ in one}))
    cells: dict[Pair, Difference] = {}
    for kind, members in groups.items():
        # Of every problem the mean over the runs that judged it both times.
        collected: dict[Key, list[float]] = defaultdict(list)
        for one in members:
            for key, value in one.items():
                collected[key].append(value)
        for column in columns:
            values = [sum(own) / len(own) for key, own in collected.items() if key[0] == column]
            if values:
                cells[names[kind], column] = difference(values)
    order = sorted(
        groups, key=lambda kind: (len(kind[0]), *(columns.index(d) if d in columns else 99 for d in kind[0]))
    )
    return EffectMatrix(
        rows=tuple(names[kind] for kind in order),
        columns=columns,
        cells=cells,
        trained={names[kind]: kind[0] for kind in groups},
        runs={names[kind]: len(members) for kind, members in groups.items()},
        remarks=tuple(remarks),
    )


def difference(values: Sequence[float]) -> Difference:
    """Return the mean of paired differences (n,) with its interval, the paired test, and how many were better."""
    mean: Estimate = bootstrap_mean(values, unit=False)
    return Difference(
        value=mean.value,
        low=mean.low,
        high=mean.high,
        problems=mean.problems,
        p_value=sign_flip_test(values),
        better=sum(value > 0 for value in values),
        worse=sum(value < 0 for value in values),
    )


def _row_names(kinds: Sequence[tuple[tuple[str, ...], str]]) -> dict[tuple[tuple[str, ...], str], str]:
    """Name rows by their domains, and by the method as well where several methods trained on the same ones."""
    domains = [kind[0] for kind in kinds]
    names = {}
    for kind in kinds:
        trained = " + ".join(kind[0])
        names[kind] = (
            f"{trained} ({kind[1]})" if trained and domains.count(kind[0]) > 1 else trained or kind[1] or "unknown"
        )
    return names


def _on_the_same_problems(
    found: Sequence[tuple[RunData, dict[Key, float]]], remarks: list[str]
) -> tuple[list[tuple[RunData, dict[Key, float]]], list[str]]:
    """Keep the runs with the problem set that most have: columns of other problems cannot be laid side by side."""
    sets = [frozenset(_keys(run.end)) for run, _ in found if run.end is not None]
    if not sets:
        return [], remarks
    common = max(sets, key=sets.count)
    kept = []
    for (run, differences), own in zip(found, sets, strict=True):
        if own == common:
            kept.append((run, differences))
        else:
            remarks.append(f"{run.name} is left out: it was evaluated on other problems than the other runs.")
    return kept, remarks


def _start_of_another(run: RunData, runs: Sequence[RunData]) -> EvaluationRecord | None:
    """Return the evaluation before training of a run that started from the same model, on the same problems."""
    model, end = run.config.get("model"), run.end
    if model is None or end is None:
        return None
    for other in runs:
        if other.start is not None and other.config.get("model") == model and _keys(other.start) == _keys(end):
            return other.start
    return None


def _differences(before: EvaluationRecord, after: EvaluationRecord) -> dict[Key, float] | None:
    """Return after minus before of every problem that was judged both times; None where the problems differ."""
    left, right = by_problem(before.scores), by_problem(after.scores)
    if left.keys() != right.keys():
        return None
    return {
        key: right[key].correct / right[key].scored - one.correct / one.scored
        for key, one in left.items()
        if one.scored and right[key].scored
    }


def _keys(record: EvaluationRecord | None) -> set[Key]:
    return set() if record is None else set(by_problem(record.scores))


def by_problem(scores: Sequence[ProblemScore]) -> dict[Key, ProblemScore]:
    """Return scores by problem."""
    seen: dict[tuple[str, str], int] = defaultdict(int)
    indexed = {}
    for score in scores:
        indexed[score.domain, score.key, seen[score.domain, score.key]] = score
        seen[score.domain, score.key] += 1
    return indexed
