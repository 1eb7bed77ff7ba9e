"""Rollouts and rewards that depend on the prompt alone: the same on any number of ranks."""

from __future__ import annotations

from typing import Any

import torch

from .conftest import make_tokenizer


def fixed_rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """The same completions for a prompt wherever it is rolled out; uneven lengths."""
    tokenizer, seen = make_tokenizer(), {}
    prompt_ids, completion_ids = [], []
    for prompt in prompts:
        text = prompt[0]["content"]
        seen[text] = seen.get(text, -1) + 1
        generator = torch.Generator().manual_seed(sum(map(ord, text)) * 10 + seen[text])
        length = int(torch.randint(2, 9, (), generator=generator))
        prompt_ids.append(tokenizer(text)["input_ids"])
        completion_ids.append(torch.randint(3, 26, (length,), generator=generator).tolist())
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def picky_reward(prompts: list[Any], completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    """Every second problem is always wrong; else right where the first token's number is odd."""
    hopeless = [int(prompt[0]["content"].split("=")[0].lstrip("abcdefgh+")) % 2 for prompt in prompts]
    return [0.0 if no else float(ids[0] % 2) for no, ids in zip(hopeless, completion_ids, strict=True)]
