"""Completions judged while others are generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from mcpo_rl.errors import VerificationError
from mcpo_rl.rewards import PendingBatch, shared_service
from mcpo_rl.rewards.batch import MAX_ERROR_RATE, watch_errors
from mcpo_rl.rewards.items import Item
from mcpo_rl.types import Status, Verdict

HOPELESS = 20
"""So many completions of a domain, and each a failure of its verifier: the rest is not waited for."""


class Judge:
    """Hands completions to the verification service and collects the verdicts as they come.

    A verifier that fails on some completions gives them the status `error`, and the evaluation goes on; one that fails
    on all of the first `HOPELESS` (a sandbox that is missing) stops it at once, with the cause.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers
        self._pending: list[tuple[list[int], PendingBatch]] = []
        self._verdicts: dict[int, tuple[str, Verdict]] = {}
        self._judged: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def submit(self, rows: Sequence[int], items: Sequence[Item]) -> None:
        """Hand in completions (one item per row) and return at once."""
        self._pending.append((list(rows), shared_service().submit(items, workers=self._workers, max_error_rate=1.0)))

    def ready(self) -> Iterator[tuple[int, Verdict]]:
        """Yield the verdicts of all batches that are judged by now."""
        pending, self._pending = self._pending, []
        for number, (rows, batch) in enumerate(pending):
            if not batch.done():
                self._pending.append((rows, batch))
                continue
            try:
                yield from self._note(rows, batch)
            except VerificationError:
                self._pending += pending[number + 1 :]
                raise

    def finish(self, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[int, Verdict]]:
        """Wait for what is left and yield its verdicts.

        Args:
            progress: Called with the number of completions judged so far and in all, whenever it had to wait.

        Raises:
            VerificationError: More than half of all verdicts are errors; the message has the most frequent cause.
        """
        total = len(self._verdicts) + sum(len(rows) for rows, _ in self._pending)
        waited = False
        while self._pending:
            rows, batch = self._pending.pop(0)
            if progress is not None and not batch.done():
                progress(len(self._verdicts), total)
                waited = True
            yield from self._note(rows, batch)
        if progress is not None and waited:
            progress(total, total)
        watch_errors(
            [domain for domain, _ in self._verdicts.values()],
            [verdict for _, verdict in self._verdicts.values()],
            MAX_ERROR_RATE,
        )

    def cancel(self) -> None:
        """Give up what is not judged yet."""
        for _, batch in self._pending:
            batch.cancel()
        self._pending = []

    def _note(self, rows: Sequence[int], batch: PendingBatch) -> Iterator[tuple[int, Verdict]]:
        verdicts = batch.result()
        for row, (domain, _, _), verdict in zip(rows, batch.items, verdicts, strict=True):
            self._verdicts[row] = domain, verdict
            self._judged[domain] += 1
            self._failed[domain] += verdict.status is Status.ERROR
            yield row, verdict
            if self._failed[domain] == self._judged[domain] == HOPELESS:
                raise VerificationError(
                    f"none of the first {HOPELESS} completions of domain `{domain}` could be judged, the last one "
                    f"because of: {verdict.detail}"
                )
