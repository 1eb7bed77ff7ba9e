"""What an evaluation asks of a generator, whatever engine is behind it. No torch here.

`TransformersGenerator` (generation.py) and `VLLMGenerator` (vllm_generation.py) are the two that come with the library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from mcpo_rl.errors import ConfigError
from mcpo_rl.types import Message


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn.

    Raises:
        ConfigError: A value that cannot work; the message names it.
    """

    temperature: float = 1.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    """Nucleus sampling; 1 is the whole distribution."""
    top_k: int = 0
    """Sample among the k likeliest tokens only; 0 among all."""
    min_p: float = 0.0
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    max_new_tokens: int = 512
    """Where a completion is cut; it then counts as truncated."""
    seed: int = 0
    """The same seed, settings and engine give the same completions."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_new_tokens < 1:
            raise ConfigError(f"`max_new_tokens` must be at least 1, not {self.max_new_tokens}.")
        if self.temperature < 0:
            raise ConfigError(f"`temperature` must be at least 0 (0 is greedy decoding), not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"`top_p` must be above 0 and at most 1, not {self.top_p}.")
        if self.top_k < 0:
            raise ConfigError(f"`top_k` must be at least 0 (0 is all tokens), not {self.top_k}.")
        if not 0 <= self.min_p < 1:
            raise ConfigError(f"`min_p` must be at least 0 and below 1, not {self.min_p}.")

    def to_settings(self) -> dict[str, Any]:
        """Return the values as they stand in an evaluation's `settings`; `top_k` and `min_p` only where they act."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("top_k", "min_p")}


@dataclass(frozen=True)
class Generated:
    """One completion, as generated."""

    text: str
    """Without the end token and other special tokens."""
    tokens: int
    """Generated tokens, the end token included."""
    truncated: bool
    """Cut at `max_new_tokens` before the end token came."""


class Generator(Protocol):
    """A model that completes prompts. Anything with these three members can be evaluated."""

    model: str
    """Name of the model, for the record."""
    settings: dict[str, Any]
    """What else decides which completions come: the engine, its batch size, how a prompt is written as tokens."""

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, *, done: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Generated]]]:
        """Yield one completion for every row of `prompts` that is not in `done`, as `(row, completion)` in any order.

        What is yielded for a row must depend on `prompts`, `sampling` and `settings` alone, not on `done`: an
        evaluation that was interrupted then ends as it would have without.

        Args:
            prompts: Chat messages; the k samples of a problem are k equal rows, one after the other.
            sampling: How to draw.
            done: Rows whose completion is known already.

        Raises:
            ModelError: The tokenizer has no chat template.
            ProblemError: A prompt and `max_new_tokens` exceed the model's context.
        """
        ...


def seed_of(seed: int, row: int) -> int:
    """Return the seed of one row (or of the batch that begins with it): 31 bits that differ for every seed and row."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row}".encode()).digest()[:4], "big") >> 1
