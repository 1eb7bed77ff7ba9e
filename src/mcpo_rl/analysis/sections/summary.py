"""The summary in words: what each run reached, and whether two runs can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpo_rl.analysis.reading.comparison import ComparisonData, MethodRow, read_comparison
from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.reading.seeds import Family, families
from mcpo_rl.analysis.sections.cautions import cautions, unlike
from mcpo_rl.analysis.sections.comparison import headlines
from mcpo_rl.analysis.sections.figures import accuracy_panel
from mcpo_rl.analysis.sections.interference import in_brief
from mcpo_rl.analysis.sections.palette import ordered, run_line
from mcpo_rl.analysis.sections.panel import Group, Table
from mcpo_rl.analysis.sections.wording import interval, listed, signed
from mcpo_rl.errors import ProblemError, RunError
from mcpo_rl.scores import Comparison, Estimate, EvaluationRecord, compare_records


@dataclass(frozen=True)
class Card:
    """One run, or one method of a comparison, in words."""

    name: str
    line: Mapping[str, Any]
    """`color` and `dash` of its curves."""
    facts: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """What stands first in the report."""

    title: str
    sentences: tuple[str, ...]
    """Who is better than whom, and what makes them less than comparable."""
    cards: tuple[Card, ...]
    groups: tuple[Group, ...]
    """Held-out accuracy of the runs as a figure and as a table; of comparisons their own section has it."""
    missing: str = ""
    """What is said where nothing was evaluated."""


def overview(runs: Sequence[RunData]) -> Overview:
    """Return the summary of `runs`: single runs by themselves, those of a comparison by method."""
    domains = ordered(domain for run in runs for domain in run.domains)
    compared = _results(runs)
    alone = [run for run in runs if run.comparison not in compared]
    cards = []
    for place, family in enumerate(families(runs)):
        result = compared.get(family.runs[0].comparison) if family.runs[0].comparison else None
        row = next((r for r in result.rows if r.method == family.runs[0].family), None) if result else None
        if result is not None and row is not None:
            cards.append(_method_card(family, result, row, run_line(place)))
        elif family.many:
            cards.append(_seeds_card(family, domains, run_line(place)))
        else:
            cards.append(run_card(family.runs[0], domains, run_line(place)))
    evaluated = any(run.end is not None for run in runs)
    return Overview(
        title=title_of(runs),
        sentences=(*(line for result in compared.values() for line in headlines(result)), *compare_runs(alone)),
        cards=tuple(cards),
        groups=_accuracy(runs, alone, domains),
        missing=""
        if evaluated
        else "No run here has an evaluation (eval.json), so nothing can be said about held-out problems.",
    )


def title_of(runs: Sequence[RunData]) -> str:
    """Return the names of what is shown, a comparison under its own."""
    return " · ".join(dict.fromkeys(run.comparison.name if run.comparison else run.name for run in runs))


def run_card(run: RunData, domains: Sequence[str], line: Mapping[str, Any]) -> Card:
    """Return what `run` is, what it reached, and what limits that."""
    seed = "" if run.seed is None else f"seed {run.seed}"
    status = str(run.manifest.get("status", ""))
    model = str(run.manifest.get("model") or "")
    parts = [run.method.upper(), seed, model, f"{run.steps} steps", "" if status == "finished" else status]
    reached = _held_out(run) if run.end else [_training_only(run, domains)]
    facts = " · ".join(part for part in parts if part)
    return Card(run.name, line, facts, (*reached, *in_brief(Family(run.name, (run,))), *cautions(run, domains)))


def compare_runs(runs: Sequence[RunData]) -> list[str]:
    """Return sentences on every run against the baseline: the first without the contrastive term, else the first."""
    evaluated = [run for run in runs if run.end is not None]
    if len(evaluated) < 2:
        return []
    baseline = next((run for run in evaluated if not run.is_contrastive), evaluated[0])
    sentences = [_against(run, baseline) for run in evaluated if run is not baseline]
    sentences += dict.fromkeys(line for run in evaluated if run is not baseline for line in unlike(run, baseline))
    methods = [run.method for run in evaluated]
    if len(set(methods)) == len(methods):
        sentences.append(
            "Each method was trained once: the intervals cover which problems were asked, not how much another "
            "training seed would change."
        )
    return sentences


def _results(runs: Sequence[RunData]) -> dict[Path | None, ComparisonData]:
    """Return the comparisons that have a result, by their directory; of the others their section says why not."""
    found: dict[Path | None, ComparisonData] = {}
    for folder in dict.fromkeys(run.comparison for run in runs if run.comparison is not None):
        try:
            found[folder] = read_comparison(folder)
        except RunError:
            continue
    return found


def _method_card(family: Family, data: ComparisonData, row: MethodRow, line: Mapping[str, Any]) -> Card:
    seeds = listed([str(seed) for seed in row.seeds]) if row.seeds else ""
    steps = max(run.steps for run in family.runs)
    parts = [f"seed{'s' if len(row.seeds) > 1 else ''} {seeds}" if seeds else "", data.model, f"{steps} steps"]
    sentences = []
    if row.mean.known:
        each = f" (by seed {', '.join(f'{x:.3f}' for x in row.mean.seeds.values())})" if len(row.mean.seeds) > 1 else ""
        before = f"went from {data.start_mean.value:.3f} to" if data.start_mean.known else "is"
        sentences.append(f"Held-out accuracy, averaged over the domains, {before} {row.mean.value:.3f}{each}.")
    waiting = [f"seed {seed} ({why})" for seed, why in row.missing.items()]
    if waiting:
        sentences.append(f"Not finished: {', '.join(waiting)}.")
    return Card(
        row.label, line, " · ".join(part for part in parts if part), (*sentences, *in_brief(family), *_of_all(family))
    )


def _seeds_card(family: Family, domains: Sequence[str], line: Mapping[str, Any]) -> Card:
    seeds = sorted({run.seed for run in family.runs if run.seed is not None})
    steps = sorted({run.steps for run in family.runs})
    span = f"{steps[0]} steps" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} steps"
    model = str(family.runs[0].manifest.get("model") or "")
    counted = f"{len(family.runs)} runs" + (f", seeds {listed([str(seed) for seed in seeds])}" if seeds else "")
    facts = " · ".join(part for part in (family.runs[0].method.upper(), counted, model, span) if part)
    ends = [run.end.macro.value for run in family.runs if run.end is not None and run.end.macro.problems]
    sentences = [
        f"Held-out accuracy, averaged over the domains: {sum(ends) / len(ends):.2f} on average over the runs "
        f"({', '.join(f'{value:.2f}' for value in ends)})."
        if ends
        else "Not evaluated on held-out problems."
    ]
    return Card(family.name, line, facts, (*sentences, *in_brief(family), *_of_all(family, domains)))


def _of_all(family: Family, domains: Sequence[str] = ()) -> list[str]:
    """Return the cautions of the runs, each once, with the runs that it is true of."""
    found: dict[str, list[str]] = {}
    for run in family.runs:
        for sentence in cautions(run, domains or run.domains):
            found.setdefault(sentence, []).append(run.name)
    return [f"{listed(names)}: {sentence}" for sentence, names in found.items()]


def _accuracy(runs: Sequence[RunData], alone: Sequence[RunData], domains: Sequence[str]) -> tuple[Group, ...]:
    panel = accuracy_panel(alone, domains, [_place(run, runs) for run in alone])
    if panel is None:
        return ()
    rows = [
        (run.name, *(_change(run, domain) for domain in domains), _change(run, ""))
        for run in alone
        if run.end is not None
    ]
    table = Table(("", *domains, "mean of domains"), tuple(rows), caption="Held-out accuracy, before → after training")
    reading = (
        "Open circle: before training. Filled: after, with a 95% interval over the problems. Same colour, same run."
    )
    return Group("Held-out accuracy", reading, (panel,)), Group(table=table)


def _place(run: RunData, runs: Sequence[RunData]) -> int:
    """Return where the run's family stands, which decides its colour."""
    return next(place for place, family in enumerate(families(runs)) if any(run is one for one in family.runs))


def _held_out(run: RunData) -> list[str]:
    assert run.end is not None
    count = run.end.micro.problems
    if run.start is None:
        return [f"Held-out accuracy, averaged over the domains: {interval(run.end.macro)} on {count} problems."]
    sentence = (
        f"Held-out accuracy, averaged over the domains, went from {interval(run.start.macro)} "
        f"to {interval(run.end.macro)} on {count} problems."
    )
    try:
        change = compare_records(run.start, run.end)
    except ProblemError:
        return [
            sentence,
            "Before and after were measured on different problems, so the change itself cannot be judged.",
        ]
    return [sentence, _by_clarity(change, "Clear gain", "Clear loss", "No clear change")]


def _training_only(run: RunData, domains: Sequence[str]) -> str:
    """Without an evaluation, only the training rollouts are left; say that they are what they are."""
    parts = []
    for domain in domains:
        _, values = run.series(f"domain/{domain}/accuracy")
        if values:
            span = max(1, len(values) // 10)
            first, last = sum(values[:span]) / span, sum(values[-span:]) / span
            parts.append(f"{domain} {first:.2f} to {last:.2f}")
    if not parts:
        return "No evaluation and no accuracy per domain was logged."
    return (
        "Not evaluated on held-out problems. On the training rollouts, first to last tenth of the run: "
        f"{'; '.join(parts)}."
    )


def _against(run: RunData, baseline: RunData) -> str:
    assert run.end is not None and baseline.end is not None
    try:
        difference = compare_records(baseline.end, run.end)
    except ProblemError as error:
        return f"{run.name} cannot be compared with {baseline.name}: {error}"
    verdict = "no clear difference"
    if difference.macro.clear:
        verdict = "clearly better" if difference.macro.value > 0 else "clearly worse"
    sentence = (
        f"{run.name} against {baseline.name}, on the same {difference.micro.problems} held-out problems and averaged "
        f"over the domains: {signed(difference.macro)}, {verdict}. "
        f"{_by_clarity(difference, 'Better', 'Worse', 'No clear difference')}"
    )
    return " ".join([sentence, *difference.remarks])


def _by_clarity(comparison: Comparison, gain: str, loss: str, neither: str) -> str:
    groups: dict[str, list[str]] = {gain: [], loss: [], neither: []}
    for domain in ordered(comparison.domains):
        estimate = comparison.domains[domain]
        kind = neither if not estimate.clear else gain if estimate.value > 0 else loss
        groups[kind].append(f"{domain} {signed(estimate)}")
    return " ".join(f"{kind}: {listed(items)}." for kind, items in groups.items() if items)


def _change(run: RunData, domain: str) -> str:
    """Return accuracy before and after with the latter's interval; of the mean over the domains for ''."""
    start, end = (_estimate(record, domain) for record in (run.start, run.end))
    if end is None or not end.problems:
        return "–"
    return f"{start.value:.2f} → {interval(end)}" if start is not None and start.problems else interval(end)


def _estimate(record: EvaluationRecord | None, domain: str) -> Estimate | None:
    if record is None or (domain and domain not in record.domains):
        return None
    return record.domains[domain].accuracy if domain else record.macro
