"""The reward function for trainers: each completion judged by its row's domain and reference.

A verifier's own failure is not a wrong answer: its reward is None, it is counted (`verify/<domain>/error_rate`), and a
batch of which more than half fails stops with the cause instead of training on what is left.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from mcpo_rl.errors import ProblemError
from mcpo_rl.rewards.batch import BatchReport, PendingBatch
from mcpo_rl.rewards.items import Item
from mcpo_rl.rewards.service import shared_service
from mcpo_rl.types import Message

_log = logging.getLogger(__name__)

_SHOWN_ANSWER = 200
_SHOWN_DETAIL = 300


class VerifierReward:
    """A reward function for TRL's trainers; made by `make_verifier_reward`.

    Called with `prompts`, `completions` (strings, or chats whose last assistant message counts) and the dataset's
    columns as keyword arguments, it returns a reward in [0, 1] per completion, or None where the verifier failed.

    A trainer that has the completions before it needs the rewards can call `begin` first: they are then judged while it
    does other things, and the call itself only collects the verdicts.

    Args:
        domain_column: The dataset's column that names the domain.
        reference_column: The dataset's column with the reference. A string is read as JSON; any other value is taken
            as it is.
        workers: As for `verify_batch`.
    """

    def __init__(self, domain_column: str, reference_column: str, workers: int | None) -> None:
        self.__name__ = "verifier_reward"  # under which trainers log it
        self.__doc__ = f"Judge completions by the columns `{domain_column}` and `{reference_column}`."
        self._domain_column = domain_column
        self._reference_column = reference_column
        self._workers = workers
        self._begun: PendingBatch | None = None

    def warm_up(self) -> None:
        """Start the workers now, without waiting for them."""
        shared_service().start()

    def begin(self, completions: Sequence[str | list[Message]], **columns: Any) -> PendingBatch:
        """Begin to judge what the next call will ask for.

        Raises:
            ProblemError: A column is missing, or a reference cannot be used.
        """
        self.drop()
        self._begun = shared_service().submit(self._items(completions, columns), workers=self._workers)
        return self._begun

    def drop(self) -> None:
        """Give up what was begun and never asked for."""
        if self._begun is not None:
            self._begun.cancel()
            self._begun = None

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[str | list[Message]],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return a reward per completion, and log verdicts, answers, counts and times where the trainer takes them."""
        items = self._items(completions, columns)
        if self._begun is None or self._begun.items != items:
            self.drop()
            pending = shared_service().submit(items, workers=self._workers)
        else:
            pending, self._begun = self._begun, None
        verdicts = pending.result()
        report = pending.report()
        _log.info("verified %d completions in %.2f s; slowest: %s", len(items), report.seconds, report.slowest)
        if log_extra is not None:
            log_extra("verdict", [verdict.status.value for verdict in verdicts])
            log_extra("answer", [verdict.answer[:_SHOWN_ANSWER] for verdict in verdicts])
            log_extra("detail", [verdict.detail[:_SHOWN_DETAIL] for verdict in verdicts])
            log_extra("verify_seconds", [round(pending.seconds_of(row), 4) for row in range(len(items))])
        if log_metric is not None:
            for name, value in metrics_of(report).items():
                log_metric(name, value)
        return [verdict.reward for verdict in verdicts]

    def _items(self, completions: Sequence[str | list[Message]], columns: dict[str, Any]) -> list[Item]:
        domains = _column(columns, self._domain_column, len(completions))
        references = _column(columns, self._reference_column, len(completions))
        return [
            (domain, _text(completion), _parsed(reference, row))
            for row, (domain, completion, reference) in enumerate(zip(domains, completions, references, strict=True))
        ]


def make_verifier_reward(
    *, domain_column: str = "domain", reference_column: str = "reference", workers: int | None = None
) -> VerifierReward:
    """Return a reward function for TRL's trainers that judges each completion by its row's domain and reference.

    Where the trainer offers `log_extra` and `log_metric`, it logs the columns `verdict`, `answer`, `detail` and
    `verify_seconds` and the metrics of `metrics_of`.

    Args:
        domain_column: The dataset's column that names the domain.
        reference_column: The dataset's column with the reference.
        workers: As for `verify_batch`.

    Example:
        >>> reward = make_verifier_reward()
        >>> reward(prompts=["2 + 3?"], completions=["#### 5"], domain=["math"], reference=['"5"'])
        [1.0]
    """
    return VerifierReward(domain_column, reference_column, workers)


verifier_reward = make_verifier_reward()
"""The reward function for rows with the columns `domain` and `reference`; see `make_verifier_reward`."""


def metrics_of(report: BatchReport) -> dict[str, float]:
    """Return a report as the metrics of a step.

    For each domain of the batch `verify/<domain>/` and `correct`, `incorrect` (numbers of completions), `error_rate`,
    `seconds_mean`, `seconds_max` (of judging one completion); for the batch `verify/seconds`, from handing it in to the
    last verdict, and `verify/waited_seconds`, what the trainer waited of that.
    """
    metrics = {"verify/seconds": report.seconds, "verify/waited_seconds": report.waited_seconds}
    for name, domain in report.domains.items():
        for key in ("correct", "incorrect", "error_rate", "seconds_mean", "seconds_max"):
            metrics[f"verify/{name}/{key}"] = float(getattr(domain, key))
    return metrics


def _column(columns: dict[str, Any], name: str, count: int) -> Sequence[Any]:
    values = columns.get(name)
    if values is None:
        others = ", ".join(sorted(key for key, value in columns.items() if isinstance(value, list))) or "none"
        raise ProblemError(f"the dataset has no column `{name}`, which the verifiers need; columns: {others}")
    if len(values) != count:
        raise ProblemError(f"column `{name}` has {len(values)} values for {count} completions")
    return values  # type: ignore[no-any-return]


def _parsed(reference: Any, row: int) -> Any:
    if not isinstance(reference, str):
        return reference
    try:
        return json.loads(reference)
    except ValueError:
        raise ProblemError(f"row {row}: the reference must be JSON text, not {reference!r:.80}") from None


def _text(completion: str | list[Message]) -> str:
    """Return the text of a completion: of a chat, the last assistant message's content."""
    if isinstance(completion, str):
        return completion
    for message in reversed(completion):
        if message.get("role") == "assistant":
            content: Any = message.get("content")
            if isinstance(content, list):  # the parts of a multimodal message
                return "".join(part.get("text", "") for part in content if isinstance(part, dict))
            return content or ""
    return ""
