"""The one family of errors: every mistake that a user can make has a class here.

Each class also inherits the standard error that it stands for, so that code which knows nothing of this library still
catches it. A message says what was wrong, where, and what to do. The command prints the message alone and exits with 2;
anything that is not a `MCPOError` is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MCPOError(Exception):
    """Base of every error that this library raises on purpose."""


class ConfigError(MCPOError, ValueError):
    """A configuration field, recipe key or combination of options that cannot work."""


class PoolError(MCPOError, ValueError):
    """A rollout pool whose tensors do not fit together or hold values that cannot be used."""


class NonfiniteError(MCPOError, FloatingPointError):
    """Hidden states or gradients that are NaN or infinite, so that training cannot go on from them."""


class ProblemError(MCPOError, ValueError):
    """Problems that cannot be read: a missing column, an empty source, a reference of the wrong form."""


class UnknownDomainError(ProblemError, KeyError):
    """A domain that no verifier is known for."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class ModelError(MCPOError, ValueError):
    """A model or tokenizer that cannot be loaded or lacks what training needs (a chat template, a pad token)."""


class RunError(MCPOError, RuntimeError):
    """A run directory that is in use, incomplete, or does not match what was asked."""


class CheckpointError(RunError, OSError):
    """A checkpoint that could not be written or read; the last complete one is left as it was."""


class SandboxError(MCPOError, RuntimeError):
    """The sandbox itself failed (not the program in it): the verdict is `error`, never `incorrect`."""


class SandboxInterruptedError(SandboxError):
    """The sandbox was killed under a program, so nothing is known of the program: it can be run again."""


class VerificationError(MCPOError, RuntimeError):
    """So many completions of a batch could not be judged that training or evaluating on the rest would mislead."""


class MissingDependencyError(MCPOError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ' Did you mean `x`?' for the closest of `valid`, or '' where nothing comes close."""
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" Did you mean `{matches[0]}`?" if matches else ""
