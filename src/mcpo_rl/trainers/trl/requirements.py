"""What cannot be trained is refused at construction, with the reason."""

from __future__ import annotations

import warnings
from typing import Any

from accelerate.utils import DistributedType
from torch import nn

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.trainers.trl.arguments import ContrastiveArguments, RolloutArguments
from mcpo_rl.trainers.trl.features.hidden_states import (
    active_dropout,
    depends_on_width,
    find_feature_module,
    unwrapped,
)

WORKING_BACKENDS = (
    DistributedType.NO,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_NPU,
    DistributedType.MULTI_XPU,
    DistributedType.FSDP,
    DistributedType.DEEPSPEED,
)
"""Engines that average gradients over ranks and call the model as a module: what the two phases rest on."""


def check_arguments(args: Any, configuration: type) -> None:
    """Refuse a configuration of another class."""
    if not isinstance(args, configuration):
        name = configuration.__name__
        raise ConfigError(
            f"args is a {type(args).__name__}; expected an {name}, which takes the same fields: "
            f"{name}(**the same arguments). With contrastive_coef=0 it trains as TRL does."
        )


def check_chat_template(dataset: Any, processing_class: Any, model_name: str) -> None:
    """Refuse chat prompts for a tokenizer without a chat template.

    Raises:
        ModelError: with what to do.
    """
    row = next(iter(dataset), None) if dataset is not None else None
    conversational = isinstance((row or {}).get("prompt"), list)
    if conversational and not getattr(processing_class, "chat_template", None):
        raise ModelError(
            f"The tokenizer of {model_name} has no chat template, but the prompts are chat messages. Use an "
            "instruction-tuned model, set `tokenizer.chat_template` (or `chat_template_path` of the tokenizer's own "
            "files), or give prompts as plain text."
        )


def check_trainer(trainer: Any) -> None:
    """Refuse what the contrastive term cannot work with.

    Raises:
        ConfigError: a model or an engine that was not made for it, with what to do.
    """
    args: ContrastiveArguments = trainer.args
    if trainer._is_vlm:
        raise ConfigError(
            "The contrastive term is not made for vision-language models yet: image tokens in the completion would be "
            "pooled. Use a text model, or contrastive_coef=0."
        )
    if getattr(trainer.model.config, "is_encoder_decoder", False):
        raise ConfigError(
            "Encoder-decoder models cannot be trained: the term reads the hidden states of a decoder that has prompt "
            "and completion in one sequence. Use a causal language model."
        )
    backend = trainer.accelerator.distributed_type
    if backend not in WORKING_BACKENDS or trainer.get_tp_size() > 1:
        what = f"The {backend.value} engine" if backend not in WORKING_BACKENDS else "Tensor parallelism"
        raise ConfigError(
            f"{what} cannot be combined with the contrastive term: it needs whole rollouts on each rank and gradients "
            "averaged over ranks. Use DDP, FSDP or DeepSpeed ZeRO, or contrastive_coef=0."
        )
    if trainer.is_deepspeed_enabled and trainer.accelerator.mixed_precision == "fp16":
        raise ConfigError(
            "fp16 under DeepSpeed cannot be combined with the contrastive term: DeepSpeed hides its loss scale, so the "
            "policy's gradient cannot be measured. Use bf16=True, or contrastive_coef=0."
        )
    if isinstance(args, RolloutArguments) and args.feature_source == "generation":
        _check_generation_tap(trainer)
    model: nn.Module = trainer.accelerator.unwrap_model(trainer.model)
    find_feature_module(model, args.feature_layer)
    if (dropout := active_dropout(model)) > 0:
        warnings.warn(
            f"The model trains with dropout (up to {dropout:g}), which the pool phase does not see: the contrastive "
            "gradient is then that of other hidden states. Set disable_dropout=True (and lora_dropout to 0).",
            stacklevel=5,
        )


def _check_generation_tap(trainer: Any) -> None:
    if problem := no_generation_tap(trainer):
        raise ConfigError(f"feature_source='generation' cannot work here: {problem}. Use feature_source='auto'.")


def is_sharded(trainer: Any) -> bool:
    """Whether parameters are gathered by a wrapper, so that the model may only be called through it."""
    return bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)


def no_generation_tap(trainer: Any) -> str:
    """Return why hidden states cannot be read while decoding, or '' where they can."""
    args = trainer.args
    if args.feature_pooling == "lines":
        return "how much a token of a line counts is known only when the line is over"
    if args.use_vllm or args.use_transformers_continuous_batching:
        return "vLLM and continuous batching do not run transformers' generate"
    if getattr(trainer, "rollout_func", None) is not None or getattr(trainer, "tools", None):  # GRPO's alone
        return "the completions do not come from one call of generate"
    if is_sharded(trainer):
        return "the parameters are sharded over ranks"
    if depends_on_width(unwrapped(trainer.accelerator, trainer.model)):
        return "the model's rotary embeddings depend on the longest rollout of a pass, which decoding does not know yet"
    return ""
