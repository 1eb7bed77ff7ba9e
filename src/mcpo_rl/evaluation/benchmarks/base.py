"""What a benchmark is: which problems, how they are put to the model, how many completions are drawn and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mcpo_rl.evaluation.generators import Sampling
from mcpo_rl.types import Problem

Protocol = Literal["guru", "r1", "greedy"]

PROTOCOLS: dict[Protocol, str] = {
    "guru": "as the multi-domain papers evaluate (Guru, arXiv 2506.14965): temperature 1.0, top_p 0.7, 28,672 tokens; "
    "32 completions for AIME, 4 for HumanEval, LiveCodeBench and ZebraLogic",
    "r1": "as DeepSeek-R1's model card asks for: temperature 0.6, top_p 0.95, 32,768 tokens, 64 completions",
    "greedy": "one greedy completion of at most 4,096 tokens, as ZeroEval has it",
}
"""Ways of sampling, by the name that `--protocol` takes, and whose they are."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a benchmark: one split of one dataset of the hub."""

    hub: str
    """`owner/name`, one that `mcpo-rl data list` knows; its schema reads local copies as well."""
    split: str
    config: str | None = None
    files: tuple[str, ...] = ()
    """Patterns of the split's files in a copy of the repository; the first one that a file matches counts."""
    label: str = ""
    """Makes the source of these problems `benchmark/label`, for a line of its own in the results."""

    def entry(self) -> dict[str, Any]:
        """Return the entry that reads it from the hub."""
        name = {"name": self.config} if self.config else {}
        return {"hub": self.hub, "split": self.split} | name


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark by name.

    The problems of a dataset come with the question alone; `ask` says how it is put, since the number that a model gets
    depends on it.
    """

    name: str
    title: str
    domain: str
    problems: int
    """How many its papers count. Another number of rows is told, not refused."""
    parts: tuple[Part, ...]
    ask: Callable[[Problem], Problem]
    """Put the question as the papers do, with the form of the answer."""
    guru_samples: int = 1
    """Completions under the protocol `guru`; for a benchmark that Guru leaves out, by Guru's own rule (4 for at most
    400 problems)."""
    keep: Callable[[Problem], bool] | None = None
    """Which of the rows belong to it; None: all."""
    max_drop: float = 0.02
    """At most this share of the rows may be such as no verifier can judge. They are left out, counted and told."""
    package: Mapping[str, Any] = field(default_factory=dict)
    """The entry that reads it from an installed package, without a network; empty: there is none."""
    folder: str = ""
    """Its folder among local copies; '': its name."""
    note: str = ""
    """What whoever compares numbers has to know."""

    def samples(self, protocol: Protocol = "guru") -> int:
        """Return how many completions of each problem are drawn under a protocol."""
        return {"guru": self.guru_samples, "r1": 64, "greedy": 1}[protocol]

    def sampling(self, protocol: Protocol = "guru", *, seed: int = 0) -> Sampling:
        """Return how they are drawn."""
        if protocol == "greedy":
            return Sampling(temperature=0.0, max_new_tokens=4096, seed=seed)
        if protocol == "r1":
            return Sampling(temperature=0.6, top_p=0.95, max_new_tokens=32768, seed=seed)
        return Sampling(temperature=1.0, top_p=0.7, max_new_tokens=28672, seed=seed)


def metric_name(samples: int) -> str:
    """Return what the accuracy of so many completions per problem is called: `avg@32`, `pass@1` for one."""
    return f"avg@{samples}" if samples > 1 else "pass@1"
