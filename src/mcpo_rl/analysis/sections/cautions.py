"""What a reader should know before believing a curve: a run cut short, nothing correct, much truncated, not alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.analysis.sections.wording import listed
from mcpo_rl.runs.agreement import differences

MUCH_TRUNCATED = 0.2
MANY_ERRORS = 0.02
MANY_ALIKE = 0.8
"""Share of the prompts whose rollouts all had the same reward: they teach GRPO nothing."""
MOST_NAMED = 5


def cautions(run: RunData, domains: Sequence[str]) -> list[str]:
    """Return sentences on what limits what can be said of `run`; none where all is well."""
    return [*_unfinished(run), *_not_finite(run), *_by_domain(run, domains), *_groups_alike(run)]


def _unfinished(run: RunData) -> list[str]:
    status = str(run.manifest.get("status", ""))
    if not run.metrics and run.end is None:
        return ["Nothing was logged yet."]
    if status in ("", "finished"):
        return []
    planned = run.config.get("max_steps")
    of = f" of {planned}" if isinstance(planned, int) and planned > 0 else ""
    return [f"The run is not finished ({status}); its last logged step is {run.steps}{of}."]


def _not_finite(run: RunData) -> list[str]:
    """NaN and infinities are written as null; of the loss or the gradient's norm they mean a broken step."""
    steps = [row.get("step") for row in run.metrics if any(k in row and row[k] is None for k in ("loss", "grad_norm"))]
    if not steps:
        return []
    return [f"Loss or gradient was not a finite number in {len(steps)} of the logged steps, first at step {steps[0]}."]


def _by_domain(run: RunData, domains: Sequence[str]) -> list[str]:
    lately: dict[str, dict[str, float]] = {"accuracy": {}, "truncated": {}, "error": {}}
    never = []
    for domain in domains:
        for name, found in lately.items():
            _, values = run.series(f"domain/{domain}/{name}")
            if values:
                found[domain] = _last_tenth(values)
        _, accuracy = run.series(f"domain/{domain}/accuracy")
        if accuracy and not any(accuracy):
            never.append(domain)
    lost = [domain for domain, value in lately["accuracy"].items() if value == 0 and domain not in never]
    sentences = []
    if never:
        sentences.append(
            f"Not one rollout of {listed(never)} was correct: there GRPO had nothing to learn from, and the "
            "contrastive term no anchor."
        )
    if lost:
        sentences.append(f"In the last tenth of the run not one rollout of {listed(lost)} was correct.")
    for name, limit, text in (
        ("truncated", MUCH_TRUNCATED, "were cut at the token limit"),
        ("error", MANY_ERRORS, "could not be judged by the verifier"),
    ):
        much = [f"{value:.0%} of {domain}'s" for domain, value in lately[name].items() if value > limit]
        if much:
            sentences.append(f"In the last tenth of the run {listed(much)} completions {text}.")
    return sentences


def _groups_alike(run: RunData) -> list[str]:
    _, values = run.series("frac_reward_zero_std")
    if not values or _last_tenth(values) <= MANY_ALIKE:
        return []
    return [
        f"In the last tenth of the run {_last_tenth(values):.0%} of the prompts had rollouts of one reward only, from "
        "which GRPO learns nothing."
    ]


def unlike(run: RunData, baseline: RunData) -> list[str]:
    """Return sentences on what else than the method differs between two runs that are compared."""
    sentences = []
    for part, name in (("train", "trained on different problems"), ("heldout", "given different held-out problems")):
        marks = [_fingerprint(one, part) for one in (run, baseline)]
        if all(marks) and marks[0] != marks[1]:
            sentences.append(f"{run.name} and {baseline.name} were {name}.")
    models = [str(one.manifest.get("model") or "") for one in (run, baseline)]
    if all(models) and models[0] != models[1]:
        sentences.append(f"They started from different models: {models[0]} and {models[1]}.")
    changed = _changed(run, baseline)
    if changed:
        shown = [
            f"`{key}` ({mine} in {run.name}, {theirs} in {baseline.name})"
            for key, (theirs, mine) in changed[:MOST_NAMED]
        ]
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        sentences.append(f"Their configs also differ in {listed(shown)}{more}.")
    if run.probe_set and baseline.probe_set and run.probe_set != baseline.probe_set:
        sentences.append(
            f"The probe sets of {run.name} and {baseline.name} hold different rollouts: compare how their geometry "
            "changes, not where it stands."
        )
    if run.steps and baseline.steps and run.steps != baseline.steps:
        sentences.append(f"{run.name} logged {run.steps} steps, {baseline.name} {baseline.steps}.")
    return sentences


_EXPECTED = (
    *("method", "model", "output_dir", "run_name", "seed", "report_to", "resume_from_checkpoint", "head_seed"),
    "evaluation.before",
)
_CONTRASTIVE_PREFIXES = ("contrastive_", "share_", "consolidate_", "feature_", "head_")


def _changed(run: RunData, baseline: RunData) -> list[tuple[str, list[Any]]]:
    """Return the keys that both configs have with different values; one that is left out may have the same default."""
    blocking, harmless = differences(baseline.config, run.config)
    return [
        (key, pair)
        for key, pair in sorted((blocking | harmless).items())
        if "(not set)" not in pair
        and key not in _EXPECTED
        and not key.startswith(("problems.", "eval_problems.", "log_", "logging_", "save_", *_CONTRASTIVE_PREFIXES))
    ]


def _fingerprint(run: RunData, part: str) -> str:
    data = run.manifest.get("data")
    facts = data.get(part) if isinstance(data, dict) else None
    return str(facts.get("sha256") or "") if isinstance(facts, dict) else ""


def _last_tenth(values: Sequence[float]) -> float:
    span = math.ceil(len(values) / 10)
    return sum(values[-span:]) / span
