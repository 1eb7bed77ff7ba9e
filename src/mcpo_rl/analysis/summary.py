"""The summary in words: what each run reached, and whether two runs can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcpo_rl.analysis.loading import RunData
from mcpo_rl.analysis.palette import ordered
from mcpo_rl.analysis.wording import interval, listed, signed
from mcpo_rl.errors import ProblemError
from mcpo_rl.scores import Comparison, compare_records


@dataclass(frozen=True)
class RunSummary:
    """One run in words, and its row in the table."""

    name: str
    facts: str
    sentences: list[str]
    accuracy: dict[str, tuple[str, str]]
    """By domain, and under '' averaged over the domains: accuracy before and after training, each with its interval."""


def summarize_run(run: RunData, domains: Sequence[str]) -> RunSummary:
    """Return what `run` is and what it reached."""
    seed = run.manifest.get("seed")
    parts = [run.method.upper(), f"seed {seed}" if seed is not None else "", str(run.manifest.get("model") or "")]
    status = str(run.manifest.get("status", ""))
    parts += [f"{run.steps} steps", "" if status == "finished" else status]
    sentences = [*_held_out(run)] if run.end else [_training_only(run, domains)]
    accuracy = {name: (_cell(run, name, "start"), _cell(run, name, "end")) for name in ["", *domains]}
    return RunSummary(run.name, " · ".join(part for part in parts if part), sentences, accuracy)


def compare_runs(runs: Sequence[RunData]) -> list[str]:
    """Return sentences on every run against the baseline: the first without the contrastive term, else the first."""
    evaluated = [run for run in runs if run.end is not None]
    if len(evaluated) < 2:
        return []
    baseline = next((run for run in evaluated if not run.is_contrastive), evaluated[0])
    sentences = [_against(run, baseline) for run in evaluated if run is not baseline]
    methods = [run.method for run in evaluated]
    if len(set(methods)) == len(methods):
        sentences.append(
            "Each method was trained once: the intervals cover which problems were asked, not how much another "
            "training seed would change."
        )
    return sentences


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


def _cell(run: RunData, domain: str, when: str) -> str:
    evaluation = run.start if when == "start" else run.end
    if evaluation is None:
        return "–"
    if not domain:
        return interval(evaluation.macro)
    return interval(evaluation.domains[domain].accuracy) if domain in evaluation.domains else "–"
