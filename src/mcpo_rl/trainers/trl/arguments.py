"""The settings of trainers that roll out: the contrastive term's, the source of features, what is correct, the mixture.

They are dataclasses without a trainer's fields, to stand in front of one of TRL's configurations:
`class MCPOConfig(RolloutArguments, GRPOConfig)`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mcpo_rl.data.mixture.options import MixtureOptions, mixture_options
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.trainers.trl.contrastive_arguments import ContrastiveArguments
from mcpo_rl.trainers.trl.field_checks import check_choice, check_count, check_number
from mcpo_rl.trainers.trl.interference.arguments import InterferenceArguments

__all__ = ["ContrastiveArguments", "RolloutArguments"]

FeatureSource = Literal["auto", "old_logps", "training", "generation", "forward"]
AdvantageGroups = Literal["both", "incorrect", "correct"]

_SAMPLING = tuple(MixtureOptions.__dataclass_fields__)


@dataclass
class RolloutArguments(InterferenceArguments, ContrastiveArguments):
    """What trainers that roll out have beside it: where features come from, what is correct, the mixture."""

    feature_source: str = field(
        default="auto",
        metadata={
            "help": "Where the hidden states of the pool phase come from: old_logps, training, generation, forward, or "
            "auto (the cheapest that this run allows)."
        },
    )
    """`old_logps`: the pass that computes old log-probabilities anyway. `training`: the training pass of the first
    micro-batch, and a pass without gradient over the others. `generation`: the decoding steps of the transformers path.
    `forward`: a pass without gradient over all. `auto`: `old_logps` where TRL computes them, else `training` where a
    generation batch is one micro-batch (nothing is computed twice), else `generation` where that works, else
    `training`."""
    refresh_contrastive_grads: bool = field(
        default=False,
        metadata={"help": "Where a generation batch feeds several optimizer steps: a pool phase before each of them."},
    )
    """Where one generation batch feeds several optimizer steps, the gradients of the pool phase grow stale after the
    first. True runs the pool phase anew before each of them, with a forward pass at the weights of that moment."""
    contrastive_advantage: float = field(
        default=0.0,
        metadata={
            "help": "Scale of a contrastive advantage for groups whose rewards are all equal: similarity to other "
            "domains' correct rollouts minus similarity to incorrect ones, standardized within the group. 0: none."
        },
    )
    """Groups whose rewards are all equal have no advantage by their rewards. Above 0, their rollouts are scored by
    similarity to other domains' correct rollouts minus similarity to other prompts' incorrect ones, standardized within
    the group, and this many times that is their advantage. Features are then needed before the training pass, so that
    pass is no source of them. It goes with the contrastive term (`contrastive_coef=0` is plain all through); for it
    alone, set `share_weight` and `consolidate_weight` to 0."""
    contrastive_advantage_groups: str = field(
        default="both",
        metadata={"help": "Which groups with equal rewards get a contrastive advantage: both, incorrect or correct."},
    )
    """`incorrect`: groups without a correct rollout; `correct`: groups with nothing else; `both`."""
    correct_threshold: float = field(
        default=1.0, metadata={"help": "A rollout is correct if its (weighted, summed) reward is at least this."}
    )
    """A rollout is correct if its reward, weighted and summed as TRL logs it, is at least this."""
    mixture: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "How the domains share each generation batch: weights (equal, proportional, a temperature or a "
            "number per domain), curriculum, resample. A word is the weights alone. None: TRL's shuffling of all rows."
        },
    )
    """None: TRL's own shuffling of all rows. A word (`equal`) or a mapping of the fields of
    `mcpo_rl.data.mixture.MixtureOptions` and `resample`: every generation batch holds the domains in exactly the asked
    proportion, `curriculum` lets the proportion follow the training, and with `resample: 3` groups whose rewards are
    all equal are rolled out anew on other problems of their domain, at most so many times."""
    log_rollouts_steps: int = field(
        default=0,
        metadata={"help": "Hand the rollouts to `trainer.rollout_observers` every so many steps. 0: never."},
    )
    """Every so many optimizer steps the rollouts go to `trainer.rollout_observers`; 0 is never."""

    def check_arguments(self) -> None:
        """Check our fields and how they go with TRL's."""
        _check_generations(getattr(self, "num_generations", None))
        super().check_arguments()
        check_number(self, "contrastive_advantage", at_least=0.0, advice="0 leaves groups without signal alone")
        check_choice(self, "contrastive_advantage_groups", get_args(AdvantageGroups))
        check_number(self, "correct_threshold", advice="the reward from which on a rollout counts as correct")
        check_count(self, "log_rollouts_steps", least=0, advice="0 is never")
        check_count(self, "interference_steps", least=0, advice="0 is never")
        check_count(self, "interference_sketch_dim", least=1, advice="1024 is usual")
        layers = self.interference_layers
        if layers is not None and (not isinstance(layers, list) or not layers or not all(map(_is_name, layers))):
            raise ConfigError(
                f"interference_layers is {layers!r}; expected a list of names of linear layers such as "
                "['mlp.down_proj'], or None for the last hidden states."
            )
        check_choice(self, "feature_source", get_args(FeatureSource))
        if self.contrastive_enabled:
            _check_feature_source(self)
        self._check_mixture()

    @property
    def gives_contrastive_advantages(self) -> bool:
        """Whether groups whose rewards are all equal get advantages from the pool, so that features come first."""
        return self.contrastive_enabled and self.contrastive_advantage > 0

    @property
    def resample_rounds(self) -> int:
        """At most so many further rounds of generation for groups without signal: `resample` of `mixture`; 0: none."""
        return int(self._mixture_mapping().get("resample", 0))

    def mixture_options(self) -> MixtureOptions | None:
        """Return what `mixture` says of the sampling; None where TRL shuffles."""
        if self.mixture is None:
            return None
        return mixture_options({key: value for key, value in self._mixture_mapping().items() if key != "resample"})

    def _mixture_mapping(self) -> dict[str, Any]:
        if isinstance(self.mixture, dict):
            return self.mixture
        return {} if self.mixture is None else {"weights": self.mixture}

    def _check_mixture(self) -> None:
        trl: Any = self  # with the fields of TRL's configuration behind this class
        if isinstance(self.mixture, str) and self.mixture.lstrip().startswith("{"):  # from a command line
            try:
                self.mixture = json.loads(self.mixture)
            except ValueError as error:
                raise ConfigError(f"mixture is {self.mixture!r}; expected a word or a mapping ({error}).") from error
        if not isinstance(self.mixture, (dict, str, type(None))):
            raise ConfigError(f"mixture is {self.mixture!r}; expected a word such as 'equal', a mapping, or None.")
        if isinstance(self.mixture, str):
            mixture_options(self.mixture)
        for key in (keys := self._mixture_mapping()):
            if key not in (*_SAMPLING, "resample"):
                raise ConfigError(f"unknown key `mixture.{key}`.{nearest(str(key), (*_SAMPLING, 'resample'))}")
        self.mixture_options()
        rounds = keys.get("resample", 0)
        if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
            raise ConfigError(
                f"`mixture.resample` is {rounds!r}; expected a whole number >= 0 (at most so many further rounds of "
                "generation; 3 is usual, 0 is none)."
            )
        if self.mixture is not None and not trl.shuffle_dataset:
            raise ConfigError(
                "shuffle_dataset=False asks for the rows in the data's own order, which `mixture` does not keep. Leave "
                "one of the two out; `curriculum: difficulty` orders the rows of each domain."
            )
        if self.mixture is not None and not trl.dataloader_in_order:
            raise ConfigError(
                "dataloader_in_order=False cannot be combined with `mixture`: batches would come in another order than "
                "they were drawn in. Leave it at True."
            )


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and bool(name)


def _check_feature_source(config: Any) -> None:
    if config.feature_source == "generation" and (config.use_vllm or config.use_transformers_continuous_batching):
        raise ConfigError(
            "feature_source='generation' reads the decoding steps of transformers' generate, which vLLM and continuous "
            "batching do not run. Use feature_source='auto'."
        )
    if config.gives_contrastive_advantages and config.feature_source == "training":
        raise ConfigError(
            "feature_source='training' cannot be combined with contrastive_advantage: an advantage is needed before "
            "the training pass, which features would come from. Use feature_source='auto' or 'forward'."
        )


def _check_generations(count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise ConfigError(
            f"num_generations is {count!r}; expected a whole number >= 2: an advantage compares the rollouts of one "
            "prompt. 8 is usual."
        )
