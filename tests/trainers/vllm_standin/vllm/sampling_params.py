"""What is asked of a generation. What the stand-in cannot do is refused and not left out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class SamplingParams:
    """The fields that TRL sets."""

    n: int = 1
    temperature: float = 1.0
    max_tokens: int = 16
    logprobs: int | None = None
    repetition_penalty: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what `Policy.sample` does not do."""
        plain = (self.repetition_penalty, self.top_p, self.top_k, self.min_p) == (1.0, 1.0, 0, 0.0)
        assert plain and self.logprobs in (0, None), f"the stand-in samples from the whole distribution: {self}"


class StructuredOutputsParams:
    """Imported by TRL; not made."""
