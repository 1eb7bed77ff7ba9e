"""The settings of the contrastive term and of the mixture: what each of our configurations adds to TRL's own.

They are dataclasses without a trainer's fields, to stand in front of one of TRL's configurations:
`class MCPOConfig(RolloutArguments, GRPOConfig)`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mcpo_rl.data.mixture.options import MixtureOptions, mixture_options
from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.objective import ContrastiveConfig
from mcpo_rl.trainers.trl.interference.arguments import InterferenceArguments

FeatureSource = Literal["auto", "old_logps", "training", "generation", "forward"]
FeaturePooling = Literal["mean", "last"]

_SAMPLING = tuple(MixtureOptions.__dataclass_fields__)


@dataclass
class ContrastiveArguments:
    """The contrastive term: the fields that every trainer of ours has. Mathematics in docs/method.md.

    Raises:
        ConfigError: a field or a combination of fields cannot work; the message names the field, the value, what was
            expected and what to do.
    """

    contrastive_coef: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the contrastive loss. None: relative strength, see `contrastive_grad_ratio`. "
            "0: TRL's trainer as it is. A positive number: a fixed weight."
        },
    )
    """Weight of the contrastive loss: None: relative strength. 0: TRL's trainer bit for bit. > 0: a fixed one."""
    contrastive_grad_ratio: float = field(
        default=0.2,
        metadata={
            "help": "Relative strength: norm of the contrastive gradient on the pooled hidden states, as a share of "
            "the norm of the policy's own gradient there (a running mean). Used when `contrastive_coef` is None."
        },
    )
    """Relative strength > 0: norm of the contrastive gradient on h, as a share of that of the policy's gradient."""
    contrastive_warmup_steps: int = field(
        default=10, metadata={"help": "Optimizer steps over which the strength rises linearly to its full value."}
    )
    """Optimizer steps (>= 0) of the linear warm-up of the strength."""
    contrastive_temperature: float = field(
        default=0.1, metadata={"help": "Temperature that similarities are divided by in the contrastive losses."}
    )
    """tau > 0 of the contrastive losses (sampling has its own `temperature`)."""
    num_positives: int = field(
        default=4, metadata={"help": "Transferable positives per anchor, at most one of each prompt."}
    )
    """At most so many transferable positives per anchor (>= 1)."""
    min_transferability: float = field(
        default=0.0, metadata={"help": "A rollout of another domain is a positive only from this score on."}
    )
    """A rollout of another domain is a positive only if its transferability is at least this."""
    share_weight: float = field(default=1.0, metadata={"help": "Weight of cross-domain knowledge sharing."})
    """lambda_share >= 0: weight of cross-domain knowledge sharing."""
    consolidate_weight: float = field(default=1.0, metadata={"help": "Weight of in-domain knowledge consolidation."})
    """lambda_cons >= 0: weight of in-domain knowledge consolidation."""
    negatives: str = field(
        default="all", metadata={"help": "Incorrect rollouts that stand against an anchor: all, domain or prompt."}
    )
    """Scope of the negatives: `all`, those of the anchor's `domain`, or those of its `prompt`."""
    consolidation: str = field(
        default="contrastive", metadata={"help": "Form of the in-domain loss: contrastive or align."}
    )
    """Form of the in-domain loss: `contrastive` or `align`."""
    transferability: str = field(
        default="centered",
        metadata={"help": "How transferability between rollouts is scored: centered, cosine or random."},
    )
    """`centered`, `cosine`, `random`, or (from Python) a callable that takes the pool and returns (N, N) scores."""
    head_dim: int = field(default=128, metadata={"help": "Width of the head's output."})
    """m >= 1, the width of the compact representation."""
    head_hidden_dim: int | None = field(
        default=None, metadata={"help": "Width of the head's hidden layer. None: the width of the features."}
    )
    """Width of the head's hidden layer; None takes the width of the features."""
    head_learning_rate: float = field(default=1e-3, metadata={"help": "Learning rate of the head's own optimizer."})
    """Learning rate (> 0) of the head's own optimizer."""
    head_seed: int = field(default=0, metadata={"help": "Seed of the head's initial parameters."})
    """Seed of the head's initial parameters; the same on every rank."""
    feature_layer: int = field(
        default=-1,
        metadata={"help": "Layer whose hidden states are pooled: -1 the backbone's last, 0 to L-1 a decoder layer."},
    )
    """-1: the backbone's last hidden state (after the final norm). 0 to L-1: the output of that decoder layer."""
    feature_pooling: str = field(
        default="mean", metadata={"help": "How the hidden states of a completion are pooled: mean or last token."}
    )
    """`mean` over the completion's tokens or its `last` token."""
    contrastive_block_size: int | None = field(
        default=512,
        metadata={"help": "Anchors that the contrastive losses handle at once. None: all. The result is the same."},
    )
    """Anchors handled at once in the losses (memory grows with it); None takes all at once, with the same result."""
    domain_column: str = field(default="domain", metadata={"help": "Column of the data set that names the domain."})
    """The column that names each prompt's domain."""
    known_domains: list[str] | None = field(
        default=None, metadata={"help": "If given, any other name in the domain column is refused."}
    )
    """If given, any other name in the domain column is refused at construction."""

    def __post_init__(self) -> None:
        """Check our fields, then let TRL check its own; any refusal is a `ConfigError`."""
        self.check_arguments()
        try:
            super().__post_init__()  # type: ignore[misc]  # of TRL's configuration behind this class
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def check_arguments(self) -> None:
        """Check our fields and how they go with TRL's."""
        self._check_contrastive_fields()
        if self.contrastive_enabled:
            _check_engine(self)

    @property
    def contrastive_enabled(self) -> bool:
        """Whether the contrastive term takes part at all (`contrastive_coef` is not 0)."""
        return self.contrastive_coef is None or self.contrastive_coef > 0

    def contrastive_config(self) -> ContrastiveConfig:
        """Return the objective's own configuration."""
        return ContrastiveConfig(
            temperature=self.contrastive_temperature,
            num_positives=self.num_positives,
            min_transferability=self.min_transferability,
            share_weight=self.share_weight,
            consolidate_weight=self.consolidate_weight,
            negatives=self.negatives,  # type: ignore[arg-type]  # checked there
            consolidation=self.consolidation,  # type: ignore[arg-type]
            transferability=self.transferability,  # type: ignore[arg-type]
            block_size=self.contrastive_block_size,
        )

    def _check_contrastive_fields(self) -> None:
        if self.contrastive_coef is not None:
            _check_number(
                self, "contrastive_coef", at_least=0.0, advice="None for relative strength, 0 to leave the term out"
            )
        _check_number(self, "contrastive_grad_ratio", above=0.0, advice="to leave the term out set contrastive_coef=0")
        _check_number(self, "head_learning_rate", above=0.0, advice="1e-3 is usual")
        _check_count(self, "contrastive_warmup_steps", least=0, advice="0 starts at full strength")
        _check_count(self, "head_dim", least=1, advice="128 is usual")
        if self.head_hidden_dim is not None:
            _check_count(self, "head_hidden_dim", least=1, advice="None takes the width of the features")
        _check_count(self, "feature_layer", least=-1, advice="-1 is the last hidden state, 0 the first decoder layer")
        _check_choice(self, "feature_pooling", get_args(FeaturePooling))
        if not isinstance(self.domain_column, str) or not self.domain_column or self.domain_column == "prompt":
            raise ConfigError(
                f"domain_column is {self.domain_column!r}; expected the name of a column beside `prompt`."
            )
        try:
            self.contrastive_config()
        except ConfigError as error:
            # The objective's names, in the words of this class.
            message = str(error).replace("ContrastiveConfig.temperature", "contrastive_temperature")
            message = message.replace("ContrastiveConfig.block_size", "contrastive_block_size")
            raise ConfigError(message.replace("ContrastiveConfig.", "")) from error


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
        _check_number(self, "correct_threshold", advice="the reward from which on a rollout counts as correct")
        _check_count(self, "log_rollouts_steps", least=0, advice="0 is never")
        _check_count(self, "interference_steps", least=0, advice="0 is never")
        _check_count(self, "interference_sketch_dim", least=1, advice="1024 is usual")
        layers = self.interference_layers
        if layers is not None and (not isinstance(layers, list) or not layers or not all(map(_is_name, layers))):
            raise ConfigError(
                f"interference_layers is {layers!r}; expected a list of names of linear layers such as "
                "['mlp.down_proj'], or None for the last hidden states."
            )
        _check_choice(self, "feature_source", get_args(FeatureSource))
        if self.contrastive_enabled:
            _check_feature_source(self)
        self._check_mixture()

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


def _check_engine(config: Any) -> None:
    """Refuse options of transformers that the two phases cannot work with."""
    if config.torch_compile:
        raise ConfigError(
            "torch_compile=True cannot be combined with the contrastive term: hidden states are read by forward hooks, "
            "which a compiled model skips. Set torch_compile=False, or contrastive_coef=0."
        )
    if config.deepspeed is not None and config.fp16:
        raise ConfigError(
            "fp16=True under DeepSpeed cannot be combined with the contrastive term: DeepSpeed hides its loss scale, "
            "so the policy's gradient cannot be measured. Use bf16=True, or contrastive_coef=0."
        )
    parallelism = config.parallelism_config
    if parallelism is not None and getattr(parallelism, "tp_enabled", False):
        raise ConfigError(
            "Tensor parallelism (parallelism_config.tp_size > 1) cannot be combined with the contrastive term: no rank "
            "holds a rollout of its own. Use FSDP or DeepSpeed ZeRO, or contrastive_coef=0."
        )


def _check_feature_source(config: Any) -> None:
    if config.feature_source == "generation" and (config.use_vllm or config.use_transformers_continuous_batching):
        raise ConfigError(
            "feature_source='generation' reads the decoding steps of transformers' generate, which vLLM and continuous "
            "batching do not run. Use feature_source='auto'."
        )


def _check_generations(count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise ConfigError(
            f"num_generations is {count!r}; expected a whole number >= 2: an advantage compares the rollouts of one "
            "prompt. 8 is usual."
        )


def _check_number(
    config: Any, name: str, *, above: float = -math.inf, at_least: float = -math.inf, advice: str
) -> None:
    value = getattr(config, name)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or value <= above or value < at_least:
        bound = f" > {above:g}" if above > -math.inf else f" >= {at_least:g}" if at_least > -math.inf else ""
        raise ConfigError(f"{name} is {value!r}; expected a finite number{bound} ({advice}).")


def _check_count(config: Any, name: str, *, least: int, advice: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number >= {least} ({advice}).")


def _check_choice(config: Any, name: str, valid: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in valid:
        names = ", ".join(f"`{choice}`" for choice in valid)
        raise ConfigError(f"{name} is {value!r}; expected one of {names}.{nearest(str(value), valid)}")
