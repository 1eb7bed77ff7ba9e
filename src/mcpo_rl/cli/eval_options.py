"""How `mcpo-rl eval` samples and which engine computes: the options, and what they stand for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import yaml

from mcpo_rl.errors import ConfigError

if TYPE_CHECKING:
    from mcpo_rl.evaluation import Sampling
    from mcpo_rl.evaluation.loading import EngineOptions

SAMPLES = 1
SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_new_tokens": 512}
"""What holds where an option is not given."""


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add how completions are drawn. What is not given stays None, so that it can be told from what is."""
    group = parser.add_argument_group("how completions are drawn")
    group.add_argument("--k", type=int, metavar="K", help="completions per problem (default 1)")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default 1)")
    group.add_argument("--top-p", type=float, metavar="P", help="nucleus sampling (default 1: off)")
    group.add_argument("--top-k", type=int, metavar="N", help="the N likeliest tokens only (default 0: all)")
    group.add_argument(
        "--min-p", type=float, metavar="P", help="no token below P times the likeliest's probability (default 0: off)"
    )
    group.add_argument("--max-new-tokens", type=int, metavar="T", help="longest completion (default 512)")
    group.add_argument("--seed", type=int, default=0, help="seed of the sampling (default 0)")
    group.add_argument(
        "--prompt-format",
        choices=("chat", "plain"),
        default="chat",
        help="the tokenizer's chat template, or plain text for base models (default chat)",
    )
    group.add_argument(
        "--chat-template-kwargs",
        metavar="YAML",
        help="further arguments of the chat template, such as '{enable_thinking: false}'",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add what computes, and how."""
    group = parser.add_argument_group("what computes")
    group.add_argument(
        "--engine",
        choices=("auto", "transformers", "vllm"),
        default="auto",
        help="auto: vLLM where it is installed and there is a GPU (default)",
    )
    group.add_argument("--device", metavar="D", help="transformers: cpu, cuda, cuda:N, or auto to use all GPUs")
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="weights' type (auto: as they were saved, on a CPU float32)",
    )
    group.add_argument(
        "--batch-size", type=int, metavar="B", help="completions at a time (default 64; vLLM: waves of 1024)"
    )
    group.add_argument("--base-model", metavar="M", help="the base model of a LoRA, where it is not the one it names")
    group.add_argument("--tensor-parallel", type=int, default=1, metavar="N", help="vLLM: GPUs per model (default 1)")
    group.add_argument(
        "--gpu-memory", type=float, default=0.9, metavar="X", help="vLLM: share of a GPU's memory (default 0.9)"
    )
    group.add_argument("--max-model-len", type=int, metavar="T", help="vLLM: longest prompt with its completion")
    group.add_argument("--verify-workers", type=int, metavar="N", help="completions judged at a time (default: cores)")


def sampling_options(args: argparse.Namespace) -> tuple[int, Sampling]:
    """Return k and how completions are drawn.

    Raises:
        ConfigError: A value that cannot work; the message names the option.
    """
    from mcpo_rl.evaluation import Sampling

    samples = SAMPLES if args.k is None else args.k
    values: dict[str, Any] = {
        name: default if getattr(args, name) is None else getattr(args, name) for name, default in SAMPLING.items()
    }
    if samples < 1:
        raise ConfigError(f"--k is {samples}; it must be at least 1.")
    try:
        sampling = Sampling(**values, seed=args.seed)
    except ConfigError as error:
        raise ConfigError(_as_options(str(error), SAMPLING)) from None
    if sampling.temperature == 0 and samples > 1:
        raise ConfigError(
            f"--k is {samples}, but at --temperature 0 all completions of a problem are the same. Give --k 1, or a "
            "temperature above 0."
        )
    return samples, sampling


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """Return how the model is loaded.

    Raises:
        ConfigError: A value that cannot work; the message names the option.
    """
    from mcpo_rl.evaluation import PromptFormat
    from mcpo_rl.evaluation.loading import EngineOptions

    if args.verify_workers is not None and args.verify_workers < 1:
        raise ConfigError(f"--verify-workers is {args.verify_workers}; it must be at least 1.")
    options = {
        "batch_size": "batch-size",
        "tensor_parallel_size": "tensor-parallel",
        "gpu_memory_utilization": "gpu-memory",
    }
    try:
        return EngineOptions(
            engine=args.engine,
            device=args.device,
            dtype=args.dtype,
            batch_size=args.batch_size,
            tensor_parallel_size=args.tensor_parallel,
            gpu_memory_utilization=args.gpu_memory,
            max_model_len=args.max_model_len,
            base=args.base_model,
            prompt_format=PromptFormat(
                form=args.prompt_format, chat_template_kwargs=_template_kwargs(args.chat_template_kwargs)
            ),
        )
    except ConfigError as error:
        raise ConfigError(_as_options(str(error), options)) from None


def prepare_engine() -> None:
    """Keep transformers' own progress bars out of a log file."""
    import transformers

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()


def _template_kwargs(text: str | None) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise ConfigError(f"--chat-template-kwargs {text!r}: expected a mapping, such as '{{enable_thinking: false}}'.")
    return value


def _as_options(message: str, names: dict[str, Any] | dict[str, str]) -> str:
    """Return a message about fields as one about options of the command line."""
    for name, option in names.items():
        written = option if isinstance(option, str) else name.replace("_", "-")
        message = message.replace(f"`{name}`", f"--{written}")
    return message
