"""The record of one evaluation: what was asked, a score per problem, and what follows from the scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from mcpo_rl.errors import RunError
from mcpo_rl.scores.estimators import MOST_VOTES, Estimate, bootstrap_mean, maj_at_k, pass_at_k, stratified_mean
from mcpo_rl.scores.table import table

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProblemScore:
    """How the completions of one problem were judged."""

    key: str
    """Hash over domain, prompt and reference: the same problem has the same key in every evaluation."""
    domain: str
    source: str = ""
    id: str = ""
    samples: int
    """Completions that were drawn."""
    correct: int
    errors: int = 0
    """Completions that the verifier failed on: neither right nor wrong."""
    truncated: int = 0
    """Completions cut at the token limit."""
    tokens: int = 0
    """Completion tokens, over all samples."""
    right_votes: tuple[int, ...] | None = None
    """How many of the judged completions gave each of the right answers; None where answers were not compared."""
    wrong_votes: tuple[int, ...] | None = None
    """The same for each of the wrong answers. A completion without an answer votes for none."""

    def __post_init__(self) -> None:
        """Take the votes as JSON has them."""
        for name in ("right_votes", "wrong_votes"):
            votes = getattr(self, name)
            object.__setattr__(self, name, None if votes is None else tuple(votes))

    @property
    def voted(self) -> bool:
        """Whether maj@k can be computed."""
        return self.right_votes is not None and self.wrong_votes is not None and self.scored <= MOST_VOTES

    @property
    def scored(self) -> int:
        """Completions that were judged."""
        return self.samples - self.errors


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The scores of a group of problems (a domain, a source, or all)."""

    problems: int
    samples: int
    accuracy: Estimate
    """Mean over the problems of the share of correct completions among those judged; with k samples this is avg@k."""
    pass_at_k: dict[int, Estimate]
    """Unbiased pass@k over the problems with at least k judged completions."""
    maj_at_k: dict[int, Estimate] = field(default_factory=dict)
    """Unbiased maj@k (majority voting) over those of them whose answers were compared; empty where none were."""
    truncated: float
    """Share of the completions that were cut at the token limit."""
    errors: float
    """Share of the completions that the verifier failed on."""
    completion_length: float
    """Mean tokens of a completion, the end token included."""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON data."""
        return {
            "problems": self.problems,
            "samples": self.samples,
            "accuracy": self.accuracy.to_json(),
            "pass_at_k": {str(k): estimate.to_json() for k, estimate in self.pass_at_k.items()},
            "maj_at_k": {str(k): estimate.to_json() for k, estimate in self.maj_at_k.items()},
            "truncated": self.truncated,
            "errors": self.errors,
            "completion_length": self.completion_length,
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """One evaluation without its completions: what eval.json holds."""

    model: str
    settings: dict[str, Any]
    """`samples temperature top_p max_new_tokens batch_size seed`, and what else was fixed."""
    scores: list[ProblemScore]
    facts: dict[str, Any] = field(default_factory=dict)
    """What does not change the result: when, how long, how many tokens."""

    @cached_property
    def domains(self) -> dict[str, Summary]:
        """The summary of every domain, by name."""
        names = sorted({score.domain for score in self.scores})
        return {name: summarize([score for score in self.scores if score.domain == name]) for name in names}

    @cached_property
    def sources(self) -> dict[str, Summary]:
        """The summary of every source, by `domain/source`; problems without a source are left out."""
        names = sorted({f"{score.domain}/{score.source}" for score in self.scores if score.source})
        return {name: summarize([s for s in self.scores if f"{s.domain}/{s.source}" == name]) for name in names}

    @cached_property
    def micro(self) -> Summary:
        """The summary of all problems: every problem weighs the same."""
        return summarize(self.scores)

    @cached_property
    def macro(self) -> Estimate:
        """The accuracy averaged over the domains: every domain weighs the same."""
        return stratified_mean([accuracies(self.scores, name) for name in self.domains])

    @cached_property
    def macro_pass_at_k(self) -> dict[int, Estimate]:
        """pass@k averaged over the domains, for the k that every domain has."""
        return self._over_domains(_passed, [summary.pass_at_k for summary in self.domains.values()])

    @cached_property
    def macro_maj_at_k(self) -> dict[int, Estimate]:
        """maj@k averaged over the domains that have it (programs are not voted on), for the k that all of them have."""
        return self._over_domains(_voted, [s.maj_at_k for s in self.domains.values() if s.maj_at_k])

    def _over_domains(
        self, values: Callable[[Sequence[ProblemScore], int], list[float]], found: Sequence[Mapping[int, Estimate]]
    ) -> dict[int, Estimate]:
        shared = sorted(set.intersection(*(set(by_k) for by_k in found))) if found else []
        groups = [[score for score in self.scores if score.domain == name] for name in self.domains]
        return {k: stratified_mean([values(group, k) for group in groups]) for k in shared}

    def __str__(self) -> str:
        return table(self)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data, the summaries included."""
        return {
            "format": FORMAT,
            "model": self.model,
            "settings": self.settings,
            "facts": self.facts,
            "domains": {name: summary.to_json() for name, summary in self.domains.items()},
            "sources": {name: summary.to_json() for name, summary in self.sources.items()},
            "macro": {
                "accuracy": self.macro.to_json(),
                "pass_at_k": {str(k): estimate.to_json() for k, estimate in self.macro_pass_at_k.items()},
                "maj_at_k": {str(k): estimate.to_json() for k, estimate in self.macro_maj_at_k.items()},
            },
            "micro": self.micro.to_json(),
            "scores": [asdict(score) for score in self.scores],
        }

    @classmethod
    def read(cls, path: str | Path) -> EvaluationRecord:
        """Read the record that an evaluation saved; the summaries are computed anew from the scores.

        Raises:
            RunError: There is no such file, or it is not an evaluation.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"There is no evaluation {path}.") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read as an evaluation ({error}).") from error
        known = {item.name for item in fields(ProblemScore)}
        try:
            rows = [{key: value for key, value in row.items() if key in known} for row in data["scores"]]
            return cls(
                model=data.get("model", ""),
                settings=data.get("settings", {}),
                facts=data.get("facts", {}),
                scores=[ProblemScore(**row) for row in rows],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is not an evaluation: it has no list `scores` of problems ({error!r}).") from error


def summarize(scores: Sequence[ProblemScore]) -> Summary:
    """Return the summary of `scores`, with pass@k and maj@k for k = 1, 2, 4, ... and the number of samples."""
    samples = sum(score.samples for score in scores)
    most = max((score.scored for score in scores), default=0)
    ks = sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | ({most} if most else set()))
    accuracy = bootstrap_mean(accuracies(scores))
    return Summary(
        problems=len(scores),
        samples=samples,
        accuracy=accuracy,
        pass_at_k={k: accuracy if k == 1 else bootstrap_mean(_passed(scores, k)) for k in ks},
        maj_at_k={k: bootstrap_mean(votes) for k in ks if (votes := _voted(scores, k))},
        truncated=sum(score.truncated for score in scores) / samples if samples else 0.0,
        errors=sum(score.errors for score in scores) / samples if samples else 0.0,
        completion_length=sum(score.tokens for score in scores) / samples if samples else 0.0,
    )


def accuracies(scores: Sequence[ProblemScore], domain: str | None = None) -> list[float]:
    """Return the share of correct completions of every problem that has a judged one (of one domain, where given)."""
    chosen = (score for score in scores if score.scored and (domain is None or score.domain == domain))
    return [score.correct / score.scored for score in chosen]


def _passed(scores: Sequence[ProblemScore], k: int) -> list[float]:
    return [pass_at_k(score.scored, score.correct, k) for score in scores if score.scored >= k]


def _voted(scores: Sequence[ProblemScore], k: int) -> list[float]:
    return [
        maj_at_k(score.scored, score.right_votes or (), score.wrong_votes or (), k)
        for score in scores
        if score.voted and score.scored >= k
    ]
