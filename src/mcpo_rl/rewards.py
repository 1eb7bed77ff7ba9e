"""From verdicts to rewards: all completions of a batch judged at the same time, and a reward function for trainers.

A verifier's own failure is not a wrong answer: its reward is None, it is counted (`verify/<domain>/error_rate`), and a
batch of which more than half fails stops with the cause instead of training on what is left.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mcpo_rl.domains import get_domain
from mcpo_rl.domains.base import failed
from mcpo_rl.errors import MCPOError, ProblemError, VerificationError
from mcpo_rl.types import Message, Status, Verdict

__all__ = ["make_verifier_reward", "verifier_reward", "verify_batch", "verify_lines"]

_log = logging.getLogger(__name__)

WARN_ERROR_RATE = 0.05
MAX_ERROR_RATE = 0.5
_SHOWN_ANSWER = 200


def verify_batch(
    items: Sequence[tuple[str, str, Any]], *, workers: int | None = None, max_error_rate: float = MAX_ERROR_RATE
) -> list[Verdict]:
    """Judge completions concurrently; the same (domain, completion, reference) is judged once.

    Args:
        items: (domain, completion, reference) each.
        workers: How many are judged at a time; None: one per core. Programs run in processes of their own, so threads
            suffice here.
        max_error_rate: The share of `error` verdicts above which the batch is refused; 1: never.

    Returns:
        One verdict per item, in the order of `items`.

    Raises:
        UnknownDomainError: An item names a domain that nobody verifies; the message names the item.
        ProblemError: A reference cannot be used; the message names the item.
        VerificationError: More than `max_error_rate` of the verdicts are errors; the message has the most frequent
            cause.
    """
    keys = [(domain, completion, _as_text(reference)) for domain, completion, reference in items]
    checked: set[tuple[str, str]] = set()
    for row, ((domain, _, reference), (_, _, text)) in enumerate(zip(items, keys, strict=True)):
        if (domain, text) not in checked:
            _check(domain, reference, f"row {row}")
            checked.add((domain, text))
    todo = {key: item for key, item in zip(keys, items, strict=True)}
    with ThreadPoolExecutor(_workers(workers), thread_name_prefix="verify") as pool:
        judged = dict(
            zip(todo, pool.map(lambda item: get_domain(item[0]).verify(item[1], item[2]), todo.values()), strict=True)
        )
    verdicts = [judged[key] for key in keys]
    _watch_errors([domain for domain, _, _ in items], verdicts, max_error_rate)
    return verdicts


def make_verifier_reward(
    *, domain_column: str = "domain", reference_column: str = "reference", workers: int | None = None
) -> Callable[..., list[float | None]]:
    """Return a reward function for TRL's trainers that judges each completion by its row's domain and reference.

    The function takes `prompts`, `completions` (strings, or chats whose last assistant message counts) and the
    dataset's columns as keyword arguments, and returns a reward in [0, 1] per completion, or None where the verifier
    failed. A reference that is a string is read as JSON; any other value is taken as it is. Where the trainer offers
    `log_extra` and `log_metric`, it logs the columns `verdict` and `answer` and the metrics
    `verify/<domain>/error_rate`.

    Args:
        domain_column: The dataset's column that names the domain.
        reference_column: The dataset's column with the reference.
        workers: As for `verify_batch`.

    Example:
        >>> reward = make_verifier_reward()
        >>> reward(prompts=["2 + 3?"], completions=["#### 5"], domain=["math"], reference=['"5"'])
        [1.0]
    """

    def verifier_reward(
        prompts: Sequence[Any],
        completions: Sequence[str | list[Message]],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        domains = _column(columns, domain_column, len(completions))
        references = _column(columns, reference_column, len(completions))
        items = [
            (domain, _text(completion), _parsed(reference, row))
            for row, (domain, completion, reference) in enumerate(zip(domains, completions, references, strict=True))
        ]
        verdicts = verify_batch(items, workers=workers)
        if log_extra is not None:
            log_extra("verdict", [verdict.status.value for verdict in verdicts])
            log_extra("answer", [verdict.answer[:_SHOWN_ANSWER] for verdict in verdicts])
        if log_metric is not None:
            for domain, rate in _error_rates(domains, verdicts).items():
                log_metric(f"verify/{domain}/error_rate", rate)
        return [verdict.reward for verdict in verdicts]

    verifier_reward.__doc__ = f"Judge completions by the columns `{domain_column}` and `{reference_column}`."
    return verifier_reward


verifier_reward = make_verifier_reward()
"""The reward function for rows with the columns `domain` and `reference`; see `make_verifier_reward`."""


def verify_lines(lines: Iterable[str], domain: str, *, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """Judge JSON lines `{"reference": ..., "completion": "..."}`; yield the verdicts in order, each as soon as known.

    Yields:
        `{"status": "correct" | "incorrect" | "error", "reward": 0..1 or None, "answer": ..., "detail": ...}`. A line
        that cannot be judged (no JSON, a key missing, a reference of the wrong form) is an `error` whose detail names
        the line. Blank lines are skipped.

    Raises:
        UnknownDomainError: Nobody verifies this domain.
    """
    get_domain(domain)
    threads = _workers(workers)
    judging: queue.Queue[Future[Verdict] | Exception | None] = queue.Queue(4 * threads)
    stopped = threading.Event()

    def put(entry: Future[Verdict] | Exception | None) -> None:
        while not stopped.is_set():
            try:
                judging.put(entry, timeout=0.2)
                return
            except queue.Full:
                continue

    def read() -> None:
        # A thread of its own: whoever feeds the lines may wait for a verdict before the next one.
        try:
            for number, line in enumerate(lines, 1):
                if stopped.is_set():
                    return
                if line.strip():
                    put(pool.submit(_judge_line, line, number, domain))
            put(None)
        except Exception as error:  # handed to the caller, who waits
            put(error)

    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        threading.Thread(target=read, name="verify-lines", daemon=True).start()
        try:
            while (entry := judging.get()) is not None:
                if isinstance(entry, (OSError, UnicodeDecodeError)):
                    raise ProblemError(f"the lines cannot be read: {entry}") from entry
                if isinstance(entry, Exception):
                    raise entry
                verdict = entry.result()
                yield {
                    "status": verdict.status.value,
                    "reward": verdict.reward,
                    "answer": verdict.answer,
                    "detail": verdict.detail,
                }
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _judge_line(line: str, number: int, domain: str) -> Verdict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return failed("", f"line {number} is not JSON: {error}")
    if not isinstance(row, dict):
        return failed("", f'line {number} is not an object such as {{"reference": ..., "completion": "..."}}')
    missing = [key for key in ("reference", "completion") if key not in row]
    if missing:
        return failed("", f"line {number} has no `{missing[0]}`")
    if not isinstance(row["completion"], str):
        return failed("", f"line {number}: `completion` must be a string")
    try:
        _check(domain, row["reference"], f"line {number}")
    except MCPOError as error:
        return failed("", str(error))
    return get_domain(domain).verify(row["completion"], row["reference"])


def _check(domain: Any, reference: Any, where: str) -> None:
    if domain is None or domain == "":
        raise ProblemError(f"{where} names no domain; every row needs one")
    if reference is None:
        raise ProblemError(f"{where} (domain {domain}) has no reference: its completion cannot be judged")
    try:
        get_domain(domain).check_reference(reference)
    except ProblemError as error:
        raise type(error)(f"{where}: {error}") from None


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


def _as_text(reference: Any) -> str:
    return json.dumps(reference, sort_keys=True, default=repr)


def _workers(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise ProblemError(f"`workers` must be at least 1, not {workers}")
    return workers or os.cpu_count() or 1


def _error_rates(domains: Sequence[str], verdicts: Sequence[Verdict]) -> dict[str, float]:
    counts = Counter(domains)
    errors = Counter(
        domain for domain, verdict in zip(domains, verdicts, strict=True) if verdict.status is Status.ERROR
    )
    return {domain: errors[domain] / counts[domain] for domain in counts}


def _watch_errors(domains: Sequence[str], verdicts: Sequence[Verdict], max_error_rate: float) -> None:
    causes = Counter(
        f"{domain}: {verdict.detail}"
        for domain, verdict in zip(domains, verdicts, strict=True)
        if verdict.status is Status.ERROR
    )
    errors = causes.total()
    if not errors:
        return
    cause = causes.most_common(1)[0][0]
    message = f"{errors} of {len(verdicts)} completions could not be judged; most often because of {cause}"
    if errors > max_error_rate * len(verdicts):
        raise VerificationError(message)
    if errors > WARN_ERROR_RATE * len(verdicts):
        _log.warning("%s", message)
