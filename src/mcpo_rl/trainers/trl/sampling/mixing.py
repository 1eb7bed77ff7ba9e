"""The mixture of one training run: its sampler, what it learns from the scores, its part of a checkpoint."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset, IterableDataset

from mcpo_rl.data.mixture import BatchOutcome, DomainMixture, DomainOutcome
from mcpo_rl.errors import CheckpointError, ConfigError, ProblemError, RunError, nearest
from mcpo_rl.trainers.trl.config import RolloutConfig
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts
from mcpo_rl.trainers.trl.sampling.mixture_sampler import MixtureSampler, batches_drawn_ahead
from mcpo_rl.trainers.trl.sampling.resampling import Resampled

_FINGERPRINTED_ROWS = 256


class Mixing:
    """Draws the generation batches of one call of `train`; one per rank, all alike.

    Args:
        args: the trainer's configuration, with `mixture` set.
        dataset: the training data; its columns `args.domain_column` and, where there is one, `difficulty` are read.
        loaded: the same rows as the data loader reads them (without unused columns); None: `dataset`.

    Raises:
        ConfigError: options that do not fit the data, such as weights for domains that it does not have.
    """

    def __init__(self, args: RolloutConfig, dataset: Dataset, loaded: Dataset | None = None) -> None:
        self._args, self._dataset = args, dataset
        self._loaded = dataset if loaded is None else loaded
        self._lag = 1 + ahead_of(args)
        self._repeats = args.num_iterations * args.steps_per_generation
        self._batch = 0
        self.fallen: frozenset[str] = frozenset()
        """Domains that are being forgotten, as the latest held-out evaluation found."""
        self._domains = dataset[args.domain_column][:]
        self.rounds = args.resample_rounds
        """Further rounds of generation at most, for groups without signal."""
        self.mixture = self._draw_from_the_beginning()
        self.sampler = MixtureSampler(
            self.mixture,
            prompts_per_batch=args.generation_batch_size // args.num_generations,
            num_generations=args.num_generations,
            repeats=self._repeats,
        )

    def _draw_from_the_beginning(self) -> DomainMixture:
        args, options = self._args, self._args.mixture_options()
        assert options is not None
        ordered = options.ordering is not None and _has_difficulty(self._dataset)
        return DomainMixture(
            self._domains,
            options,
            prompts_per_batch=args.generation_batch_size // args.num_generations,
            seed=args.seed,
            difficulty=self._dataset["difficulty"][:] if ordered else None,
            lag=self._lag,
        )

    @property
    def items_per_epoch(self) -> int:
        """What each rank's data loader yields in an epoch: one micro-batch each."""
        return int(len(self.mixture) * self._repeats)

    # -- while training ------------------------------------------------------------------------------------------------

    def row(self, number: int) -> dict[str, Any]:
        """Return a row as the data loader gives it."""
        row: dict[str, Any] = self._loaded[number]
        return row

    def replacements(self, domains: list[str]) -> list[int]:
        """Return a further row of each of these domains for the batch that is being scored."""
        return self.mixture.replacements(self._batch, domains)

    def observe(self, scored: ScoredRollouts, resampled: Resampled | None, names: list[str]) -> dict[str, float]:
        """Hand the mixture the outcome of the batch that was just scored, and go on to the next.

        The mixture learns from all that was scored, groups that were replaced and candidates that were not used among
        it: what was trained on alone would show it a success rate near one half everywhere.

        Args:
            scored: the batch as it is trained on, of all ranks.
            resampled: what was rolled out to replace groups of it.
            names: of the domain numbers.

        Returns:
            `mixture/<domain>/asked_share`, `share` (of the rows drawn) and `informative_share` (of the groups that
            carry a signal; left out where none does). With `resample` also `mixture/<domain>/drawn_accuracy` (of all
            that was drawn: the accuracy of the batch that is trained on is biased by the choice), and
            `mixture/resampled_groups` (rolled out additionally), `replaced_groups`, `resample_rounds`.
        """
        args, asked = self._args, self.mixture.asked(self._batch)
        draws = [scored] if resampled is None else resampled.draws
        outcome = batch_outcome(draws, names, args.num_generations, args.correct_threshold)
        outcome = replace(outcome, fallen=self.fallen & set(self.mixture.domains))
        self.mixture.observe(self._batch, outcome)
        self._batch += 1
        domains, informative = scored.domains, scored.informative
        metrics: dict[str, float] = {}
        for number, name in enumerate(names):
            metrics[f"mixture/{name}/asked_share"] = asked.get(name, 0.0)
            metrics[f"mixture/{name}/share"] = (domains == number).float().mean().item()
            if bool(informative.any()):
                share = (domains[informative] == number).float().mean().item()
                metrics[f"mixture/{name}/informative_share"] = share
        if resampled is not None:
            for name, drawn in outcome.domains.items():
                if drawn.accuracy is not None:
                    metrics[f"mixture/{name}/drawn_accuracy"] = drawn.accuracy
            metrics["mixture/resampled_groups"] = float(resampled.generated)
            metrics["mixture/replaced_groups"] = float(resampled.replaced)
            metrics["mixture/resample_rounds"] = float(len(resampled.draws) - 1)
        return metrics

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def state(self, micro_steps_done: int) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain data.

        Args:
            micro_steps_done: since training began; where a batch is not used up, it is the next one again.
        """
        batch = self._batch if micro_steps_done % self._repeats == 0 else self._batch - 1
        return {
            "batch": batch,
            "lag": self._lag,
            "rows": fingerprint(self._dataset),
            "resample": self.rounds,
            "mixture": self.mixture.state_dict(batch),
        }

    def resume(self, state: dict[str, Any], *, items_passed_over: int, where: str) -> None:
        """Go on where the run that wrote `state` stood.

        Args:
            state: of `state`.
            items_passed_over: micro-batches that the data loader drops at the beginning of the epoch.
            where: the checkpoint, for messages.

        Raises:
            CheckpointError: it was written with other data or another mixture; the message says what differs.
        """
        if state["lag"] > self._lag:
            # The loader looks less far ahead than the one of then. To wait longer than it needs keeps the order.
            self._lag = state["lag"]
            self.mixture = self.sampler.mixture = self._draw_from_the_beginning()
        try:
            self.mixture.load_state_dict(state["mixture"])
        except (RunError, ConfigError) as error:
            further = (
                f" The data loader draws up to {self._lag - 1} generation batches ahead, then {state['lag'] - 1}: set "
                "dataloader_num_workers (or dataloader_prefetch_factor) no higher than it was."
                if self._lag > state["lag"]
                else ""
            )
            raise CheckpointError(f"{where} does not fit this run: {error}{further}") from error
        if state["rows"] != fingerprint(self._dataset):
            raise CheckpointError(
                f"{where} was written with other training data: as many rows of every domain, but other problems or "
                "another order. Resume with the data of then, or start a new run with the checkpoint as the model."
            )
        if state["resample"] != self.rounds:
            raise CheckpointError(
                f"{where} was written with `mixture: {{resample: {state['resample']}}}`, now it is {self.rounds}: "
                "other problems would come. Set it as it was, or start a new run with the checkpoint as the model."
            )
        self._batch = state["batch"]
        self.sampler.resume(self._batch, passed_over=items_passed_over)


def check_mixture(args: RolloutConfig, dataset: Any) -> None:
    """Refuse data that cannot be mixed, before a model is loaded.

    Raises:
        ConfigError: streaming data or none, or options that do not fit the data.
    """
    if args.mixture is None:
        return
    if isinstance(dataset, IterableDataset):
        raise ConfigError(
            "`mixture` needs to know every row's domain before training, which streaming data (an IterableDataset) "
            "does not tell. Load the data as a Dataset (a directory that `mcpo-rl data build` wrote is read from disk, "
            "not into memory), or leave `mixture` out."
        )
    if not isinstance(dataset, Dataset):
        raise ConfigError(
            "`mixture` chooses among the rows of `train_dataset`, and there is none. Leave `mixture` out."
        )
    Mixing(args, dataset)


def _has_difficulty(dataset: Dataset) -> bool:
    """Whether rows tell their difficulty, for a curriculum that orders by it; a warning where none does.

    Raises:
        ProblemError: the column holds something else than numbers.
    """
    values = dataset["difficulty"][:] if "difficulty" in dataset.column_names else []
    known = [value for value in values if value is not None]
    wrong = next((value for value in known if isinstance(value, bool) or not isinstance(value, int | float)), None)
    if wrong is not None:
        raise ProblemError(
            f"column `difficulty` of the training data holds {wrong!r:.60}; the curriculum by difficulty needs "
            "numbers, larger ones for harder problems."
        )
    if not known:
        has = "no row of the training data has a difficulty" if values else "the training data has no such column"
        hint = "" if values else nearest("difficulty", dataset.column_names)
        warnings.warn(
            f"`mixture.curriculum` orders problems by `difficulty`, but {has}: it changes nothing.{hint}", stacklevel=2
        )
    return bool(known)


def check_same_order(state: dict[str, Any], args: RolloutConfig, where: str) -> None:
    """Refuse to go on with `mixture` from a checkpoint that was written without it, and the other way round.

    Args:
        state: the content of its state file.
        args: the configuration of now.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: with what to do.
    """
    before, now = state.get("mixture") is not None, args.mixture is not None
    if before != now:
        then, today = ("with `mixture`", "without it") if before else ("without `mixture`", "with it")
        raise CheckpointError(
            f"{where} was written {then} and is resumed {today}: the problems would come in another order. "
            f"{'Set `mixture` as it was' if before else 'Leave `mixture` out'}, or start a new run with the checkpoint "
            "as the model."
        )


def check_resampling(trainer: Any) -> None:
    """Refuse what groups cannot be rolled out anew with.

    Raises:
        ConfigError: tools, environments or images.
    """
    for name, present in (
        ("tools", bool(getattr(trainer, "tools", None))),
        ("environments", getattr(trainer, "environment_factories", None) is not None),
        ("vision-language models", trainer._is_vlm),
    ):
        if present:
            raise ConfigError(f"`mixture: {{resample: ...}}` cannot be combined with {name} yet. Leave `resample` out.")


def ahead_of(args: RolloutConfig) -> int:
    """Return how many generation batches the data loader may have drawn when one has been scored."""
    return batches_drawn_ahead(
        repeats=args.num_iterations * args.steps_per_generation,
        accumulation=args.gradient_accumulation_steps,
        workers=args.dataloader_num_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
    )


def batch_outcome(
    draws: Sequence[ScoredRollouts], names: list[str], num_generations: int, correct_threshold: float
) -> BatchOutcome:
    """Return what rollouts say of each domain.

    Args:
        draws: rollouts of all ranks; those of a group stand together.
        names: of the domain numbers.
        num_generations: rollouts of a group.
        correct_threshold: on the reward.
    """
    domains = torch.cat([draw.domains for draw in draws])[::num_generations]
    informative = torch.cat([draw.informative for draw in draws])[::num_generations]
    rewards = torch.cat([draw.rewards for draw in draws]).view(-1, num_generations).double()
    scored = (~torch.isnan(rewards)).sum(dim=1)
    rates = (rewards >= correct_threshold).sum(dim=1) / scored.double()  # NaN where nothing was scored
    outcomes = {}
    for number, name in enumerate(names):
        of_domain = domains == number
        known = rates[of_domain & (scored > 0)]
        if not bool(of_domain.any()):
            continue
        outcomes[name] = DomainOutcome(
            groups=int(of_domain.sum()),
            informative=int((of_domain & informative).sum()),
            accuracy=known.mean().item() if len(known) else None,
            variance=(known * (1 - known)).mean().item() if len(known) else None,
        )
    return BatchOutcome(domains=outcomes)


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 over some of the rows, evenly spaced: enough to notice other data."""
    count = len(dataset)
    digest = hashlib.sha256()
    for number in sorted({position * count // _FINGERPRINTED_ROWS for position in range(_FINGERPRINTED_ROWS)}):
        row = dataset[number]
        facts = [row.get(name) for name in ("prompt", "reference")]
        digest.update(json.dumps(facts, sort_keys=True, default=str).encode("utf-8", "replace"))
    return digest.hexdigest()
