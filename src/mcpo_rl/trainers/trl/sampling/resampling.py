"""Dynamic sampling: groups without signal are rolled out anew on other problems of the same domain (DAPO, 2503.14476).

It happens inside TRL's `_generate`, before TRL has made anything of the completions. From there on TRL sees one
generation batch, as if those problems had been in it from the start: padding, masks, log-probabilities, token counts,
advantages and logs are its own.

Axes: B rollouts of this rank, N of all ranks, G rollouts per prompt, F reward functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate.utils import gather_object
from torch import Tensor

from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts

Rollout = dict[Any, Any]
"""Everything there is of one rollout before TRL makes tensors of a batch. Keys: `prompt`, `row`, `feature`, names of
`trainer.generated_names`, and pairs for what has names of its own: ("log", column), ("field", name of a rollout
function's)."""


class Source(Protocol):
    """The part of `Mixing` that resampling needs."""

    rounds: int

    def replacements(self, domains: list[str]) -> list[int]:
        """Return the number of a further row for each of these domains, the same on every rank."""

    def row(self, number: int) -> dict[str, Any]:
        """Return a row as the data loader gives it."""


@dataclass(kw_only=True)
class Draw:
    """Rollouts that were generated and scored together."""

    rollouts: list[Rollout]
    """Of this rank, B of them."""
    rewards: Tensor
    """(N, F), of all ranks, as TRL's `_calculate_rewards` returns them."""
    scored: ScoredRollouts
    """Of all ranks."""


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """What resampling made of one generation batch, beside what it handed to TRL."""

    rollouts: list[Rollout]
    """Of this rank, as they are trained on."""
    rewards: Tensor
    """(N, F) of the same rollouts, of all ranks."""
    scored: ScoredRollouts
    """The same, of all ranks."""
    draws: list[ScoredRollouts]
    """All that was scored: the batch as first drawn, then the candidates of each round."""
    replaced: int
    """Groups whose place another group took."""
    generated: int
    """Groups that were rolled out for it, used or not."""

    def rewards_of(self, prompts: list[Any], rows: list[dict[str, Any]]) -> Tensor:
        """Return the rewards (N, F), having checked that TRL asks for those of these rollouts.

        Raises:
            RuntimeError: it does not: this version of TRL keeps other lists of its own.
        """
        asked, known = list(zip(prompts, rows, strict=True)), [(r["prompt"], r["row"]) for r in self.rollouts]
        if len(asked) != len(known) or any(
            a is not b or c is not d for (a, c), (b, d) in zip(asked, known, strict=True)
        ):
            raise RuntimeError(
                "Groups were resampled, but TRL goes on with the prompts of before: this version of it no longer reads "
                "the lists that it hands to `_generate`. Train without `resample`."
            )
        return self.rewards


class GroupResampler:
    """Replaces groups without signal, in at most `source.rounds` further rounds of generation.

    Each round rolls out one candidate per group that lacks a signal, spread evenly over the ranks (what is left over on
    the last ranks serves as second tries). A candidate that carries signal takes the place of such a group of its
    domain, whichever rank that is on. Groups that are left after the last round stay as they are.

    Args:
        trainer: an `MCPOTrainer`.
        source: where the problems come from.
    """

    def __init__(self, trainer: Any, source: Source) -> None:
        self._trainer, self._source = trainer, source

    def complete(self, prompts: list[Any], rows: list[dict[str, Any]], generated: tuple[Any, ...]) -> tuple[Any, ...]:
        """Score a generation batch, replace its groups without signal, and return what TRL shall go on with.

        `prompts` and `rows` (B) are TRL's own lists, which it reads again after this: they are changed in place. The
        outcome is left in `trainer._resampled`.

        Args:
            prompts: of the rollouts.
            rows: of the data set.
            generated: what TRL's `_generate` made of them.
        """
        trainer = self._trainer
        draw = self._judge(prompts, rows, generated)
        metrics = {name: list(values) for name, values in trainer._pending_metrics.items()}
        draws, replaced, generated_groups = [draw.scored], 0, 0
        for _ in range(self._source.rounds):
            lacking = self._lacking(draw.scored)
            if not lacking:
                break
            candidates = self._candidates(draw.scored, lacking)
            draws.append(candidates.scored)
            generated_groups += len(candidates.scored.domains) // trainer.num_generations
            replaced += self._put(candidates, draw, lacking)
        # Of what reward functions log as numbers, only the first draw's is kept: it is the batch that was asked for.
        trainer._pending_metrics.clear()
        trainer._pending_metrics.update(metrics)
        trainer._resampled = Resampled(
            rollouts=draw.rollouts,
            rewards=draw.rewards,
            scored=draw.scored,
            draws=draws,
            replaced=replaced,
            generated=generated_groups,
        )
        return self._hand_over(draw.rollouts, prompts, rows, generated)

    def _lacking(self, scored: ScoredRollouts) -> list[int]:
        """Return the numbers of the groups without signal."""
        return (~scored.informative[:: self._trainer.num_generations]).nonzero().flatten().tolist()

    def _candidates(self, scored: ScoredRollouts, lacking: list[int]) -> Draw:
        """Roll out and score one group for each that lacks a signal, and more until every rank has as many."""
        trainer, group = self._trainer, self._trainer.num_generations
        ranks, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
        each = -(-len(lacking) // ranks)
        numbers = scored.domains[::group].tolist()
        wanted = [trainer.domains.names[numbers[lacking[c % len(lacking)]]] for c in range(each * ranks)]
        chosen = self._source.replacements(wanted)[rank * each : (rank + 1) * each]
        rows = [dict(row) for row in map(self._source.row, chosen) for _ in range(group)]
        prompts = [row["prompt"] for row in rows]
        with _log_kept_as_it_is(trainer):
            return self._judge(prompts, rows, trainer.roll_out(prompts, rows))

    def _judge(self, prompts: list[Any], rows: list[dict[str, Any]], generated: tuple[Any, ...]) -> Draw:
        """Score rollouts now, through TRL's own code."""
        trainer = self._trainer
        parts = dict(zip(trainer.generated_names, generated, strict=True))
        fields = parts.get("extra_fields", {})
        extra = {name: values for name, values in fields.items() if isinstance(values, list)}
        seen = [
            {**row, **fields, **{name: values[i] for name, values in extra.items() if i < len(values)}}
            for i, row in enumerate(rows)
        ]
        trainer._pending_extra_logs.clear()
        rewards = trainer._calculate_rewards(seen, prompts, parts["completions"], parts["completion_ids"])
        columns: dict[str, Any] = {"prompt": prompts, "row": rows, "feature": trainer._features.generated, **parts}
        columns |= {("log", name): values for name, values in trainer._pending_extra_logs.items()}
        columns |= {("field", name): values for name, values in extra.items()}
        kept = {
            name: values
            for name, values in columns.items()
            if isinstance(values, (list, Tensor)) and len(values) == len(rows)
        }
        rollouts = [{name: values[i] for name, values in kept.items()} for i in range(len(rows))]
        return Draw(rollouts=rollouts, rewards=rewards, scored=trainer._scored)

    def _put(self, candidates: Draw, draw: Draw, lacking: list[int]) -> int:
        """Let candidates with signal take the places of groups that lack one; return how many did."""
        group, accelerator = self._trainer.num_generations, self._trainer.accelerator
        domains = draw.scored.domains[::group].tolist()
        waiting: dict[int, list[int]] = defaultdict(list)
        for place in lacking:
            waiting[domains[place]].append(place)
        moves: list[tuple[int, int]] = []  # (number of the candidate, number of the place)
        offered = zip(candidates.scored.domains[::group].tolist(), candidates.scored.informative[::group], strict=True)
        for candidate, (domain, informative) in enumerate(offered):
            if informative and waiting[domain]:
                moves.append((candidate, waiting[domain].pop(0)))
        if not moves:
            return 0
        within = torch.arange(group, device=draw.rewards.device)
        sources, targets = (
            (torch.tensor(numbers, device=within.device)[:, None] * group + within).flatten()
            for numbers in zip(*moves, strict=True)
        )
        draw.rewards = draw.rewards.index_copy(0, targets, candidates.rewards[sources])
        draw.scored = draw.scored.replaced(targets, candidates.scored, sources)
        pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))
        here, first = len(candidates.rollouts), accelerator.process_index * len(candidates.rollouts)
        moving = [
            (target, _movable(candidates.rollouts[source - first]))
            for source, target in pairs
            if first <= source < first + here
        ]
        start = accelerator.process_index * len(draw.rollouts)
        for target, rollout in gather_object(moving):
            if start <= target < start + len(draw.rollouts):
                draw.rollouts[target - start] = rollout
        return len(moves)

    def _hand_over(
        self, rollouts: list[Rollout], prompts: list[Any], rows: list[dict[str, Any]], generated: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Put the rollouts back into the forms that TRL and the trainer hold them in."""
        trainer = self._trainer

        def column(name: Any) -> list[Any]:
            return [rollout.get(name) for rollout in rollouts]

        prompts[:], rows[:] = column("prompt"), column("row")
        names = dict.fromkeys(name for rollout in rollouts for name in rollout if isinstance(name, tuple))
        trainer._pending_extra_logs.clear()
        trainer._pending_extra_logs.update({name: column((kind, name)) for kind, name in names if kind == "log"})
        if trainer._features.generated is not None:
            features, device = column("feature"), trainer._features.generated.device
            known = all(feature is not None for feature in features)
            trainer._features.generated = torch.stack([f.to(device) for f in features]) if known else None
        parts = dict(zip(trainer.generated_names, generated, strict=True))
        for name, values in parts.items():
            if isinstance(values, list) and len(values) == len(rollouts):
                parts[name] = column(name)
        if "extra_fields" in parts:
            fields = {name: column((kind, name)) for kind, name in names if kind == "field"}
            parts["extra_fields"] = {**parts["extra_fields"], **fields}
        return tuple(parts.values())


def _movable(rollout: Rollout) -> Rollout:
    """Return a rollout that can be sent to another rank: no tensor on this rank's device."""
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in rollout.items()}


@contextmanager
def _log_kept_as_it_is(trainer: Any) -> Iterator[None]:
    """Take back what generation adds to TRL's metrics inside: `completions/*` speak of the batch as first drawn."""
    metrics = trainer._metrics["train"]
    before = {name: len(values) for name, values in metrics.items()}
    yield
    for name in list(metrics):
        if name not in before:
            del metrics[name]
        else:
            del metrics[name][before[name] :]
