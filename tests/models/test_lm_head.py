"""The head of a model on CPUs: what it is handed before the first token of a generation."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from mcpo_rl.models.lm_head import keep_rows_contiguous


def tiny(dtype: torch.dtype = torch.bfloat16) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)).to(dtype)


def test_the_last_positions_of_prompts_come_in_one_piece() -> None:
    model = get_peft_model(tiny(), LoraConfig(r=2, target_modules=["q_proj"]))
    seen: list[bool] = []
    prompts = torch.randint(0, 32, (3, 5))
    before = model.generate(input_ids=prompts, max_new_tokens=2, do_sample=False, pad_token_id=0)
    watch = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].is_contiguous())
    )
    model.generate(input_ids=prompts, max_new_tokens=2, do_sample=False, pad_token_id=0)
    assert seen == [False, True], "the slow way: without it there is nothing to be done any more"
    watch.remove()
    assert keep_rows_contiguous(model)
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    after = model.generate(input_ids=prompts, max_new_tokens=2, do_sample=False, pad_token_id=0)
    assert seen[2:] == [True, True] and torch.equal(before, after)


@pytest.mark.parametrize(("dtype", "frozen"), [(torch.float32, True), (torch.bfloat16, False)])
def test_others_are_left_alone(dtype: torch.dtype, frozen: bool) -> None:
    model = tiny(dtype).requires_grad_(not frozen)
    assert not keep_rows_contiguous(model)
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_no_head() -> None:
    assert not keep_rows_contiguous(torch.nn.Linear(2, 2))
