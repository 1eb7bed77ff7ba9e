"""From chat messages to token ids, the same for every engine. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mcpo_rl.errors import ConfigError, ModelError, ProblemError
from mcpo_rl.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class PromptFormat:
    """How a problem's messages become the text that a model continues."""

    form: Literal["chat", "plain"] = "chat"
    """`chat` takes the tokenizer's chat template. `plain` is for base models: the messages' contents, a blank line
    between them and a line break after the last."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the chat template, such as `{"enable_thinking": False}`."""

    def __post_init__(self) -> None:
        """Check that they fit together."""
        if self.form not in ("chat", "plain"):
            raise ConfigError(f"the prompt format is `chat` or `plain`, not {self.form!r}.")
        if self.form == "plain" and self.chat_template_kwargs:
            raise ConfigError("arguments of the chat template are given, but the prompt format `plain` takes none.")

    def to_settings(self) -> dict[str, Any]:
        """Return what of it stands in an evaluation's `settings`: what differs from the plain chat template."""
        settings: dict[str, Any] = {} if self.form == "chat" else {"prompt_format": self.form}
        if self.chat_template_kwargs:
            settings["chat_template_kwargs"] = dict(self.chat_template_kwargs)
        return settings

    def encode(self, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Return the token ids of every prompt, ready to be continued.

        Raises:
            ModelError: `chat`, and the tokenizer has no chat template.
        """
        if self.form == "chat" and not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"The tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, so prompts cannot be "
                "put to the model as a chat. Take an instruction-tuned model, set `tokenizer.chat_template`, or "
                "choose the prompt format `plain`, which suits base models."
            )
        cache: dict[int, list[int]] = {}  # samples of one problem share the same prompt object
        for prompt in prompts:
            if id(prompt) not in cache:
                cache[id(prompt)] = self._ids(tokenizer, prompt)
        return [cache[id(prompt)] for prompt in prompts]

    def _ids(self, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> list[int]:
        if self.form == "plain":
            text = "\n\n".join(message["content"].strip() for message in prompt) + "\n"
            return list(tokenizer(text)["input_ids"])
        ids: list[int] = tokenizer.apply_chat_template(
            list(prompt), add_generation_prompt=True, tokenize=True, return_dict=False, **self.chat_template_kwargs
        )
        return ids


def check_lengths(encoded: Sequence[Sequence[int]], max_new_tokens: int, limit: int | None) -> None:
    """Raise `ProblemError` where a prompt and its completion may not fit into a context of `limit` tokens."""
    longest = max((len(ids) for ids in encoded), default=0)
    if limit and longest + max_new_tokens > limit:
        raise ProblemError(
            f"The longest prompt has {longest} tokens; with max_new_tokens={max_new_tokens} that exceeds the model's "
            f"context of {limit}. "
            + (f"Lower max_new_tokens to at most {limit - longest}, or leave" if longest < limit else "Leave")
            + " out the longest problems."
        )


def end_tokens(tokenizer: PreTrainedTokenizerBase, named: int | Sequence[int] | None) -> list[int]:
    """Return the ids that end a completion.

    Args:
        tokenizer: It names one.
        named: `eos_token_id` of the model's generation config, which names them all.
    """
    ends = [named] if isinstance(named, int) else list(named or [])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    return ends


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int], ends: Sequence[int]) -> tuple[str, int, bool]:
    """Return a completion's text, its number of tokens with the end token, and whether no end token came.

    What follows the first end token is padding.
    """
    length = next((place + 1 for place, token in enumerate(tokens) if token in ends), None)
    kept = list(tokens) if length is None else list(tokens[:length])
    text = tokenizer.decode(kept if length is None else kept[:-1], skip_special_tokens=True)
    return str(text), len(kept), length is None
