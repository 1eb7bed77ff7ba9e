"""The settings of the contrastive term: what every configuration of ours adds to TRL's own.

A dataclass without a trainer's fields, to stand in front of one of TRL's configurations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective import ContrastiveConfig
from mcpo_rl.trainers.trl.field_checks import check_choice, check_count, check_number

FeaturePooling = Literal["mean", "last", "lines"]


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
    contrastive_decay_steps: int | None = field(
        default=None,
        metadata={
            "help": "Optimizer steps after the warm-up over which the strength falls linearly to 0, where it stays. "
            "None: it does not fall."
        },
    )
    """Optimizer steps (>= 1) after the warm-up over which the strength falls linearly to 0; None: it does not fall."""
    contrastive_temperature: float = field(
        default=0.1, metadata={"help": "Temperature that similarities are divided by in the contrastive losses."}
    )
    """tau > 0 of the contrastive losses (sampling has its own `temperature`)."""
    anchors: str = field(
        default="rollout",
        metadata={"help": "What an anchor (and a positive) is: each correct rollout, or a prompt's mean of them."},
    )
    """What anchors and positives are: each correct `rollout`, or a `prompt` (the mean of its correct rollouts)."""
    num_positives: int = field(
        default=4, metadata={"help": "Transferable positives per anchor, at most one of each prompt."}
    )
    """At most so many transferable positives per anchor (>= 1)."""
    mutual_positives: bool = field(
        default=False,
        metadata={"help": "A rollout is a positive of an anchor only if it chose the anchor's prompt as well."},
    )
    """Whether a positive stays only if its own positives hold a rollout of the anchor's prompt."""
    detach_positives: bool = field(
        default=False, metadata={"help": "No gradient into positives: an anchor moves to them, not they to it."}
    )
    """Whether gradients stop at the positive's end of a pair, so that the anchor alone moves."""
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
        default="mean",
        metadata={
            "help": "How the hidden states of a completion are pooled: mean over its tokens, its last token, or lines "
            "(mean over its lines of the mean over each line's tokens)."
        },
    )
    """`mean` over the completion's tokens, its `last` token, or `lines`: mean over its lines of each line's mean."""
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
            anchors=self.anchors,  # type: ignore[arg-type]  # checked there
            num_positives=self.num_positives,
            mutual_positives=self.mutual_positives,
            detach_positives=self.detach_positives,
            min_transferability=self.min_transferability,
            share_weight=self.share_weight,
            consolidate_weight=self.consolidate_weight,
            negatives=self.negatives,  # type: ignore[arg-type]
            consolidation=self.consolidation,  # type: ignore[arg-type]
            transferability=self.transferability,  # type: ignore[arg-type]
            block_size=self.contrastive_block_size,
        )

    def _check_contrastive_fields(self) -> None:
        if self.contrastive_coef is not None:
            check_number(
                self, "contrastive_coef", at_least=0.0, advice="None for relative strength, 0 to leave the term out"
            )
        check_number(self, "contrastive_grad_ratio", above=0.0, advice="to leave the term out set contrastive_coef=0")
        check_number(self, "head_learning_rate", above=0.0, advice="1e-3 is usual")
        check_count(self, "contrastive_warmup_steps", least=0, advice="0 starts at full strength")
        if self.contrastive_decay_steps is not None:
            check_count(self, "contrastive_decay_steps", least=1, advice="None keeps the strength")
        check_count(self, "head_dim", least=1, advice="128 is usual")
        if self.head_hidden_dim is not None:
            check_count(self, "head_hidden_dim", least=1, advice="None takes the width of the features")
        check_count(self, "feature_layer", least=-1, advice="-1 is the last hidden state, 0 the first decoder layer")
        check_choice(self, "feature_pooling", get_args(FeaturePooling))
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
