"""Two evaluations on the same problems: which is better, and can it be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcpo_rl.errors import ProblemError
from mcpo_rl.scores.estimators import RESAMPLES, Estimate, stratified_mean
from mcpo_rl.scores.permutation import sign_flip_test
from mcpo_rl.scores.record import EvaluationRecord, ProblemScore
from mcpo_rl.scores.table import comparison_table

COMPARED_SETTINGS = {
    "samples": None,
    "temperature": None,
    "top_p": None,
    "top_k": 0,
    "min_p": 0.0,
    "max_new_tokens": None,
    "prompt_format": "chat",
    "chat_template_kwargs": None,
    "engine": "transformers",
}
"""What two evaluations should have in common, each with what it is where it is not noted."""


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean difference over paired problems, its 95% bootstrap interval, and a paired test."""

    p_value: float = 1.0
    """Two-sided, of the paired permutation test (`sign_flip_test`)."""
    better: int = 0
    """Problems on which the second evaluation has the higher accuracy."""
    worse: int = 0
    """Problems on which it has the lower one."""

    def to_json(self) -> dict[str, float | int | None]:
        """Return the difference as plain JSON data."""
        return {**super().to_json(), "p_value": self.p_value, "better": self.better, "worse": self.worse}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of the second evaluation minus that of the first, problem by problem."""

    domains: dict[str, Difference]
    macro: Difference
    """Mean over the domains."""
    micro: Difference
    """Mean over all problems."""
    remarks: list[str]
    """What makes the comparison less than fair: settings that differ, problems left out."""
    names: tuple[str, str] = ("", "")
    """The models of the first and the second evaluation."""

    def __str__(self) -> str:
        return comparison_table(self)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON data."""
        return {
            "domains": {name: estimate.to_json() for name, estimate in self.domains.items()},
            "macro": self.macro.to_json(),
            "micro": self.micro.to_json(),
            "remarks": self.remarks,
            "models": list(self.names),
        }


def compare_records(
    first: EvaluationRecord, second: EvaluationRecord, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Return `second` minus `first` per domain, with bootstrap intervals and a test over the paired differences.

    A difference is that of one problem's shares of correct completions. Intervals and p-values are those of single
    comparisons: where one of several domains is picked out afterwards, correct for their number.

    A problem on which the verifier failed for every completion of either side is left out, and a remark says so.

    Raises:
        ProblemError: The two were not made on the same problems.
    """
    check_same_problems(first.scores, second.scores)
    left, right = _by_key(first.scores), _by_key(second.scores)
    differences: dict[str, list[float]] = defaultdict(list)
    left_out = 0
    for key, a in left.items():
        b = right[key]
        if a.scored and b.scored:
            differences[a.domain].append(b.correct / b.scored - a.correct / a.scored)
        else:
            left_out += 1
    remarks = [
        f"`{name}` differs: {first.settings.get(name, otherwise)!r} and {second.settings.get(name, otherwise)!r}."
        for name, otherwise in COMPARED_SETTINGS.items()
        if first.settings.get(name, otherwise) != second.settings.get(name, otherwise)
    ]
    if left_out:
        remarks.append(f"{left_out} problem(s) left out, because the verifier failed on all their completions.")
    groups = dict(sorted(differences.items()))
    return Comparison(
        domains={name: _difference([values], resamples, seed) for name, values in groups.items()},
        macro=_difference(list(groups.values()), resamples, seed),
        micro=_difference([[x for values in groups.values() for x in values]], resamples, seed),
        remarks=remarks,
        names=(first.model, second.model),
    )


def check_same_problems(first: Sequence[ProblemScore], second: Sequence[ProblemScore]) -> None:
    """Refuse two evaluations that cannot be paired; what was scored does not matter.

    Raises:
        ProblemError: They are of different problems.
    """
    left, right = _by_key(first), _by_key(second)
    if left.keys() != right.keys():
        raise ProblemError(
            f"The evaluations were made on different problems: {len(left.keys() & right.keys())} in common, "
            f"{_missing(left, right)} only in the first, {_missing(right, left)} only in the second. "
            "Evaluate both on the same set."
        )


def _difference(groups: Sequence[Sequence[float]], resamples: int, seed: int) -> Difference:
    """Return the mean of the groups' means, with the test of that same weighted mean."""
    filled = [group for group in groups if group]
    mean = stratified_mean(filled, unit=False, resamples=resamples, seed=seed)
    weighted = [value / (len(filled) * len(group)) for group in filled for value in group]
    return Difference(
        value=mean.value,
        low=mean.low,
        high=mean.high,
        problems=mean.problems,
        p_value=sign_flip_test(weighted, seed=seed),
        better=sum(value > 0 for value in weighted),
        worse=sum(value < 0 for value in weighted),
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
