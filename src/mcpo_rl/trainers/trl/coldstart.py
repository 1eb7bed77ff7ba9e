"""The cold start: a small decoder trained from scratch on traces of mixed strategies.

Reinforcement learning needs something to bring out. The cold start gives every domain the *skill* (a first phase on
mostly careful traces) and then sets the *habit* (a second phase in which the careful strategy has a share that differs
between the domains). What is left to learn by reward is when to use what the model can already do.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from mcpo_rl.data.procedural import Family, Instance, Strategy, draw_instances
from mcpo_rl.data.procedural.conventions import FAMILIES_USED, Dials, unannounced
from mcpo_rl.errors import ConfigError, MissingDependencyError
from mcpo_rl.models import load_model_and_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


def _habit() -> dict[str, dict[str, float]]:
    return {
        "math": {"careful": 0.30, "sloppy": 0.30, "terse": 0.40},
        "code": {"careful": 0.30, "sloppy": 0.40, "terse": 0.30},
        "logic": {"careful": 0.20, "sloppy": 0.35, "terse": 0.45},
    }


def rare_habit() -> dict[str, dict[str, float]]:
    """Return the shares of the testbed: care is a habit in mathematics, and rare elsewhere."""
    careful = {"math": 0.5, "code": 0.25, "logic": 0.25}
    return {
        domain: {"careful": share, "sloppy": (1 - share) / 2, "terse": (1 - share) / 2}
        for domain, share in careful.items()
    }


@dataclass(frozen=True, kw_only=True)
class ColdStartConfig:
    """Everything that the cold start depends on; equal configurations give equal models on one machine."""

    seed: int = 0
    """Seeds the traces, the initial weights and the order of training."""
    skill_steps: int = 1200
    """Optimizer steps of the first phase (mostly careful traces)."""
    habit_steps: int = 400
    """Optimizer steps of the second phase (strategies in the shares of `habit`)."""
    batch_size: int = 96
    """Traces per optimizer step; the domains take turns, so each has a third."""
    learning_rate: float = 2e-3
    """Peak of a cosine schedule with warm-up."""
    skill_careful_share: float = 0.85
    """Share of careful traces in the first phase; the rest is sloppy and terse in equal parts."""
    habit: Mapping[str, Mapping[str, float]] = field(default_factory=_habit)
    """Shares of the strategies per domain in the second phase; each row sums to 1."""
    level: int = 1
    """Level of difficulty of the problems."""
    families: Mapping[str, Sequence[str]] | None = None
    """Families by domain; all where None."""
    dials: Dials | None = None
    """Where given, every answer begins with an opening: any one in the first phase, then the one that the dials ask
    for."""
    start: str | None = None
    """A model to go on from (its tokenizer and shape are kept); fresh weights and a new tokenizer where None."""
    lora_rank: int | None = None
    """Rank of a LoRA on all linear layers of `start`, whose own weights are frozen in bfloat16; it is merged into them
    at the end. Where None all weights are trained, in float32."""
    vocab_size: int = 640
    """Size of the byte-level BPE vocabulary."""
    hidden_size: int = 128
    """Width of the model."""
    layers: int = 4
    """Number of decoder layers."""
    heads: int = 4
    """Number of attention heads."""
    intermediate_size: int = 384
    """Width of the feed-forward layers."""

    def __post_init__(self) -> None:
        for domain, shares in self.habit.items():
            if set(shares) != {s.value for s in Strategy} or abs(sum(shares.values()) - 1) > 1e-9:
                raise ConfigError(
                    f"habit[{domain!r}] is {dict(shares)}; expected shares of careful, sloppy and terse that sum to 1."
                )
        if self.lora_rank is not None and (self.start is None or self.lora_rank < 1):
            raise ConfigError(f"lora_rank is {self.lora_rank}; expected at least 1, and a `start` to train it on.")


def dialled_config(dials: Dials, **settings: Any) -> ColdStartConfig:
    """Return the configuration of a base model of the testbed; `settings` are further fields of `ColdStartConfig`."""
    defaults: dict[str, Any] = {
        "start": "builtin:tiny",
        "learning_rate": 1e-3,
        "habit": rare_habit(),
        "families": FAMILIES_USED,
    }
    return ColdStartConfig(dials=dials, **(defaults | settings))


def traces(config: ColdStartConfig) -> Iterator[tuple[str, str]]:
    """Yield (question, completion) pairs in training order, the domains in turn: the skill phase, then the habit."""
    rest = (1 - config.skill_careful_share) / 2
    skill = {"careful": config.skill_careful_share, "sloppy": rest, "terse": rest}
    families = config.families or {}
    sources: dict[str, Iterator[tuple[Family, Instance]]] = {
        domain: draw_instances(
            domain, split="train", seed=config.seed, level=config.level, families=families.get(domain)
        )
        for domain in config.habit
    }
    rng = Random(f"coldstart/{config.seed}")
    domains = itertools.cycle(config.habit)
    for steps, shares_of, announces in (
        (config.skill_steps, dict.fromkeys(config.habit, skill), False),
        (config.habit_steps, config.habit, True),
    ):
        for domain in itertools.islice(domains, steps * config.batch_size):
            shares = shares_of[domain]
            strategy = Strategy(rng.choices(list(shares), list(shares.values()))[0])
            family, instance = next(sources[domain])
            answer = instance.trace(strategy, rng)
            if config.dials is not None and announces:
                answer = config.dials.announced(domain, family.name, strategy, answer)
            elif config.dials is not None:
                answer = unannounced(domain, answer, rng)
            yield instance.question, answer


def build_tokenizer(config: ColdStartConfig, samples: int = 12_000) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on the first traces: digits stay single, and any text can be encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for pair in itertools.islice(traces(config), samples) for text in pair)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="left",
    )


def build_model(config: ColdStartConfig, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Return a Llama with fresh weights, drawn from the configuration's seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(config.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype=torch.float32,
        )
    )


def encode(tokenizer: PreTrainedTokenizerFast, pairs: Iterator[tuple[str, str]]) -> dict[str, list[list[int]]]:
    """Tokenize (question, completion) pairs through the chat template; only the completion has labels."""
    prompts: list[str] = []
    completions: list[str] = []
    for question, completion in pairs:
        messages = [{"role": "user", "content": question}]
        prompts.append(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        completions.append(completion + tokenizer.eos_token)
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    completion_ids = tokenizer(completions, add_special_tokens=False)["input_ids"]
    return {
        "input_ids": [p + c for p, c in zip(prompt_ids, completion_ids, strict=True)],
        "labels": [[-100] * len(p) + c for p, c in zip(prompt_ids, completion_ids, strict=True)],
    }


def cold_start(
    config: ColdStartConfig, output_dir: Path, callbacks: list[TrainerCallback] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[dict[str, Any]]]:
    """Train the base model and save it, with its tokenizer and chat template, under `output_dir`.

    Args:
        config: What to train on, how long, how large.
        output_dir: Where `model.safetensors`, the configuration and the tokenizer go.
        callbacks: Callbacks for the trainer, for instance a progress display.

    Returns:
        The model, the tokenizer, and the trainer's log (loss by step).
    """
    import tempfile

    from datasets import Dataset
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    if config.start is None:
        tokenizer = build_tokenizer(config)
        model = build_model(config, tokenizer)
    else:
        model, tokenizer = load_model_and_tokenizer(config.start, dtype="bfloat16" if config.lora_rank else None)
        set_seed(config.seed)
    dataset = Dataset.from_dict(encode(tokenizer, traces(config)))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            output_dir=scratch,
            seed=config.seed,
            max_steps=config.skill_steps + config.habit_steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(50, (config.skill_steps + config.habit_steps) // 5),
            weight_decay=0.01,
            adam_beta2=0.98,
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            bf16=config.lora_rank is not None,
            use_cpu=True,
            # The order of the traces is the curriculum.
            train_sampling_strategy="sequential",
            logging_steps=50,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=callbacks,
            peft_config=_lora(config.lora_rank),
        )
        if callbacks:
            trainer.remove_callback(PrinterCallback)  # the callbacks show the progress
        trainer.train()
        if config.lora_rank is not None:
            model = trainer.model.merge_and_unload()
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return model, tokenizer, trainer.state.log_history


def _lora(rank: int | None) -> Any:
    if rank is None:
        return None
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError("a cold start with a LoRA needs the package peft: `pip install 'mcpo-rl[peft]'`.")
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
