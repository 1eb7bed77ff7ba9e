"""Two evaluations on the same problems: which is better, and can it be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcpo_rl.errors import ProblemError
from mcpo_rl.scores.estimators import RESAMPLES, Estimate, bootstrap_mean, stratified_mean
from mcpo_rl.scores.record import EvaluationRecord, ProblemScore

COMPARED_SETTINGS = ("samples", "temperature", "top_p", "max_new_tokens")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of the second evaluation minus that of the first, problem by problem."""

    domains: dict[str, Estimate]
    macro: Estimate
    """Mean over the domains."""
    micro: Estimate
    """Mean over all problems."""
    remarks: list[str]
    """What makes the comparison less than fair: settings that differ, problems left out."""

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON data."""
        return {
            "domains": {name: estimate.to_json() for name, estimate in self.domains.items()},
            "macro": self.macro.to_json(),
            "micro": self.micro.to_json(),
            "remarks": self.remarks,
        }


def compare_records(
    first: EvaluationRecord, second: EvaluationRecord, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Return `second` minus `first` per domain, with bootstrap intervals over the paired differences of the problems.

    A problem on which the verifier failed for every completion of either side is left out, and a remark says so.

    Raises:
        ProblemError: The two were not made on the same problems.
    """
    left, right = _by_key(first.scores), _by_key(second.scores)
    if left.keys() != right.keys():
        raise ProblemError(
            f"The evaluations were made on different problems: {len(left.keys() & right.keys())} in common, "
            f"{_missing(left, right)} only in the first, {_missing(right, left)} only in the second. "
            "Evaluate both on the same set."
        )
    differences: dict[str, list[float]] = defaultdict(list)
    left_out = 0
    for key, a in left.items():
        b = right[key]
        if a.scored and b.scored:
            differences[a.domain].append(b.correct / b.scored - a.correct / a.scored)
        else:
            left_out += 1
    remarks = [
        f"`{name}` differs: {first.settings.get(name)!r} and {second.settings.get(name)!r}."
        for name in COMPARED_SETTINGS
        if first.settings.get(name) != second.settings.get(name)
    ]
    if left_out:
        remarks.append(f"{left_out} problem(s) left out, because the verifier failed on all their completions.")
    groups = dict(sorted(differences.items()))
    return Comparison(
        domains={d: bootstrap_mean(v, unit=False, resamples=resamples, seed=seed) for d, v in groups.items()},
        macro=stratified_mean(list(groups.values()), unit=False, resamples=resamples, seed=seed),
        micro=bootstrap_mean([x for v in groups.values() for x in v], unit=False, resamples=resamples, seed=seed),
        remarks=remarks,
    )


def _by_key(scores: Sequence[ProblemScore]) -> dict[tuple[str, int], ProblemScore]:
    """Index scores by key and occurrence: a set may hold the same problem twice."""
    seen: dict[str, int] = defaultdict(int)
    indexed = {}
    for score in scores:
        indexed[score.key, seen[score.key]] = score
        seen[score.key] += 1
    return indexed


def _missing(here: dict[tuple[str, int], ProblemScore], there: dict[tuple[str, int], ProblemScore]) -> str:
    only = [score for key, score in here.items() if key not in there]
    example = f" (such as {only[0].id or only[0].key} of {only[0].domain})" if only else ""
    return f"{len(only)}{example}"
