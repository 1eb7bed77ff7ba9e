"""The `domain` column: checked before anything expensive happens, and turned into the numbers that a pool needs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from datasets import Dataset, IterableDataset

from mcpo_rl.errors import ProblemError, UnknownDomainError, nearest
from mcpo_rl.trainers.trl.arguments import ContrastiveArguments
from mcpo_rl.trainers.trl.config import MCPORLOOConfig, RolloutConfig


class DomainIndex:
    """Numbers for domain names, the same on every rank and stable over the run."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = sorted(set(names))

    def include(self, names: Iterable[str]) -> None:
        """Give numbers to names that have none; every rank must pass the same set."""
        self.names += sorted(set(names) - set(self.names))

    def numbers(self, names: Sequence[str]) -> list[int]:
        """Return one number per name."""
        return [self.names.index(name) for name in names]


def check_dataset(dataset: Any, args: RolloutConfig, *, prompt_needed: bool) -> DomainIndex:
    """Check the training data and return its domains (for a streaming data set: none yet).

    Raises:
        ProblemError: a column is missing, there are too few prompts, or a row names no domain.
        UnknownDomainError: a row's domain is not one of `known_domains`.
    """
    columns = dataset.column_names
    if columns is not None:
        for column in ("prompt", args.domain_column) if prompt_needed else (args.domain_column,):
            if column not in columns:
                raise _missing_column(column, columns, args)
    if isinstance(dataset, IterableDataset):
        return DomainIndex()
    _check_size(dataset, args)
    return index_domains(dataset, args, plain="plain RLOO" if isinstance(args, MCPORLOOConfig) else "plain GRPO")


def index_domains(dataset: Dataset, args: ContrastiveArguments, *, plain: str) -> DomainIndex:
    """Check the domain column and return its domains; warn where there is but one.

    Args:
        dataset: that has the column.
        args: names it.
        plain: what training without the contrastive term is called.
    """
    names = dataset.unique(args.domain_column)
    check_names(
        names, args, where=lambda name: f"row {dataset[args.domain_column][:].index(name)} of the training data"
    )
    if len(names) == 1 and args.contrastive_enabled:
        warnings.warn(
            f"All {len(dataset)} training prompts are of one domain ({names[0]!r}). Sharing between domains needs at "
            f"least two: with one, the contrastive term is 0 and this is {plain}. Add prompts of another domain, or "
            f"set contrastive_coef=0 to say that {plain} is meant.",
            stacklevel=4,
        )
    return DomainIndex(names)


def check_names(names: Iterable[Any], args: ContrastiveArguments, where: Any) -> None:
    """Refuse names that are no names or not known; `where` turns a name into the place where it was found."""
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ProblemError(
                f"{where(name)}: column {args.domain_column!r} holds {name!r}; expected the name of a domain, such as "
                "'math'."
            )
        if args.known_domains is not None and name not in args.known_domains:
            raise UnknownDomainError(
                f"{where(name)}: unknown domain {name!r}; known are {', '.join(sorted(args.known_domains))}."
                f"{nearest(name, args.known_domains)}"
            )


def domains_of(rows: Sequence[dict[str, Any]], args: ContrastiveArguments) -> list[str]:
    """Return the domain of each row of a batch, checked (a streaming data set could not be checked before)."""
    for row in rows:
        if args.domain_column not in row:
            raise _missing_column(args.domain_column, list(row), args)
    names = [row[args.domain_column] for row in rows]
    check_names(dict.fromkeys(names), args, where=lambda name: f"row {names.index(name)} of a training batch")
    return names


def _check_size(dataset: Dataset, args: RolloutConfig) -> None:
    if len(dataset) == 0:
        raise ProblemError(
            "The training data is empty: there is not a single prompt. Check its source and its filters."
        )
    needed = args.generation_batch_size // args.num_generations
    if len(dataset) < needed:
        raise ProblemError(
            f"The training data has {len(dataset)} prompts, but one generation batch takes {needed} "
            f"(generation_batch_size {args.generation_batch_size} / num_generations {args.num_generations}), so not "
            "one step could be made. Add prompts, or lower per_device_train_batch_size, steps_per_generation or "
            "gradient_accumulation_steps."
        )


def _missing_column(column: str, columns: Sequence[str], args: ContrastiveArguments) -> ProblemError:
    hint = nearest(column, columns)
    what = (
        "It names each prompt's domain ('math', 'code', ...); add it, or set `domain_column` to the column that does."
        if column == args.domain_column
        else "It holds what is put to the model: chat messages or text."
    )
    return ProblemError(
        f"The training data has no column {column!r}; it has {', '.join(sorted(columns))}. {what}{hint}"
    )
