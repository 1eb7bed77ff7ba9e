"""What a domain is: one verifier and the answer form that its prompts ask for."""

from __future__ import annotations

from typing import Any, Protocol

from mcpo_rl.types import Verdict


class Domain(Protocol):
    """One domain. Implementations live in one file each and are listed in `mcpo_rl.domains.DOMAINS`."""

    name: str
    """The key under which rows name it in their `domain` column."""
    answer_format: str
    """The sentence that a prompt may append to ask for an answer which `verify` reads."""

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` (what is wrong, what was expected) when `verify` could not use `reference`."""
        ...

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion. Never raises for anything a model wrote; a failure of the verifier itself is `Status.ERROR`."""
        ...
