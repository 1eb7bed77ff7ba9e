"""vLLM, colocated and as a server: the policy's weights and nothing else go there, its completions come to the pool.

vLLM itself is a stand-in; `vllm_seam.py` says what is real.
"""

from __future__ import annotations

import copy
import re

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOTrainer

from mcpo_rl.trainers.trl import MCPOConfig, MCPORLOOConfig, MCPORLOOTrainer, MCPOTrainer
from mcpo_rl.trainers.trl.features.hidden_states import find_backbone

from .conftest import history, make_dataset, make_model, parameters_of
from .rollouts import picky_reward
from .test_exact_gradient import compare
from .vllm_seam import free_port, trl_with_vllm

LORA = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
TERM = {"contrastive_coef": 0.5, "contrastive_warmup_steps": 0}


@pytest.fixture
def colocated():
    with trl_with_vllm():
        yield {"use_vllm": True, "max_steps": 2}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model")


def saved(path, dtype=torch.float32, **options):
    """The policy, from where vLLM loads it too."""
    make_model(dtype, **options).save_pretrained(path)
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


class Steps(TrainerCallback):
    """Marks the steps among vLLM's events, each with the parameters it should have then: LoRA's merged."""

    def __init__(self, trainer, events):
        self.trainer, self.events = trainer, events
        trainer.add_callback(self)

    def on_step_begin(self, args, state, control, **kwargs):
        model = copy.deepcopy(self.trainer.accelerator.unwrap_model(self.trainer.model))
        merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
        self.events.append(("step", {name: parameter.detach() for name, parameter in merged.named_parameters()}))


def check_synchronized(events, steps):
    """In each step exactly the policy's parameters come, before a generation needs them; they are new each step."""
    begins = [number for number, event in enumerate(events) if event[0] == "step"]
    assert len(begins) == steps
    for begin, end in zip(begins, [*begins[1:], len(events)], strict=True):
        policy = events[begin][1]
        expected = sorted((name, tuple(values.shape)) for name, values in policy.items())
        loaded = sorted(event[1:] for event in events[begin:end] if event[0] == "load")
        times = len(loaded) // len(expected)
        assert times >= 1 and loaded == sorted(expected * times)
        used = [event[1] for event in events[begin:end] if event[0] == "generate"]
        assert used
        for state in used:
            assert state.keys() == policy.keys()
            assert all(torch.equal(state[name], values) for name, values in policy.items())
    first, *rest = (events[begin][1] for begin in begins)
    assert all(any(not torch.equal(policy[name], first[name]) for name in first) for policy in rest)


def check_the_term_took_part(trainer):
    assert trainer.feature_source_in_use == "old_logps"
    assert min(history(trainer, "contrastive/anchors")) > 0
    assert min(history(trainer, "contrastive/grad_norm")) > 0


def kinds(events):
    """The events by name, with each run of loads as one."""
    names = [" ".join(event[:2] if event[0] == "wake" else event[:1]) for event in events]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != "load" or before != "load"]


@pytest.mark.parametrize("tied", [False, True])
def test_colocated_vllm_gets_the_policy_and_nothing_else(colocated, path, make_trainer, tied):
    options = {"peft_config": LoraConfig(**LORA)} if tied else {}
    trainer = make_trainer(saved(path, tie_word_embeddings=tied), options=options, **colocated, **TERM)
    events = trainer.vllm_generation.llm.events
    Steps(trainer, events)
    trainer.train()
    check_synchronized(events, 2)
    assert kinds(events) == ["step", "load", "reset_prefix_cache", "generate"] * 2  # once for two micro-batches
    assert ("lm_head.weight" in {event[1] for event in events if event[0] == "load"}) is not tied
    check_the_term_took_part(trainer)


def test_a_vllm_server_gets_the_policy_and_nothing_else(path, make_trainer):
    model = saved(path)
    with trl_with_vllm():
        from vllm.server import serve

        with serve(path) as server:
            place = {"vllm_server_base_url": server.url, "vllm_group_port": free_port()}
            options = {"peft_config": LoraConfig(**LORA)}
            trainer = make_trainer(
                model, options=options, use_vllm=True, vllm_mode="server", max_steps=2, **place, **TERM
            )
            Steps(trainer, server.policy.events)
            trainer.train()
    check_synchronized(server.policy.events, 2)
    assert server.requests.count("update_weights") == server.requests.count("v1/completions") == 2
    check_the_term_took_part(trainer)


@pytest.mark.parametrize("correction", [True, False])
def test_the_gradient_is_that_of_one_giant_batch(colocated, path, make_trainer, correction):
    trainer, error = compare(
        make_trainer,
        dtype=torch.float64,
        policy=False,
        model=saved(path, torch.float64),
        use_vllm=True,
        vllm_importance_sampling_correction=correction,
    )
    assert trainer.feature_source_in_use == ("old_logps" if correction else "training")
    assert error < 1e-9


def test_the_whole_gradient_with_the_correction(colocated, path, make_trainer):
    mode = "token_truncate"
    _, error = compare(
        make_trainer, dtype=torch.float32, model=saved(path), use_vllm=True, vllm_importance_sampling_mode=mode
    )
    assert error < 1e-4


def watched(monkeypatch, engine, trainer):
    """Train; return what TRL's loss was given of the correction, and how often the backbone ran."""
    given, runs, original = [], [], engine._compute_loss

    def spy(self, model, inputs):
        given.append((inputs["completion_ids"], inputs.get("importance_sampling_ratio")))
        return original(self, model, inputs)

    monkeypatch.setattr(engine, "_compute_loss", spy)
    find_backbone(trainer.model).register_forward_hook(lambda *_: runs.append(1))
    trainer.train()
    monkeypatch.setattr(engine, "_compute_loss", original)
    return given, len(runs)


def test_the_correction_is_trls_and_costs_no_pass(colocated, path, make_trainer, make_args, monkeypatch):
    model = saved(path)

    def train(trainer_class, config, **options):
        args = make_args(config, **colocated, **options)
        trainer = make_trainer(copy.deepcopy(model), trainer_class=trainer_class, args=args)
        return (trainer, *watched(monkeypatch, GRPOTrainer, trainer))

    plain, theirs, plain_runs = train(GRPOTrainer, GRPOConfig)
    off, same, off_runs = train(MCPOTrainer, MCPOConfig, contrastive_coef=0.0)
    on, ours, runs = train(MCPOTrainer, MCPOConfig, **TERM)
    # Without the term it is TRL bit for bit.
    assert history(off, "loss") == history(plain, "loss")
    assert all(torch.equal(values, parameters_of(off)[name]) for name, values in parameters_of(plain).items())
    # With it, the same ratios reach TRL's loss, as long as the weights are the same ones: in two micro-batches.
    for number, ((ids, ratio), *others) in enumerate(zip(theirs, same, ours, strict=True)):
        for other_ids, other_ratio in others if number < 2 else others[:1]:
            assert torch.equal(ids, other_ids) and torch.equal(ratio, other_ratio)
        assert (ratio != 1).any()
    assert on.feature_source_in_use == "old_logps"
    assert runs == off_runs == plain_runs

    uncorrected, without, runs = train(MCPOTrainer, MCPOConfig, vllm_importance_sampling_correction=False, **TERM)
    assert uncorrected.feature_source_in_use == "training"
    assert all(ratio is None for _, ratio in without)
    assert runs == len(without) + 2  # the training's own, and for each of two pools one over its second micro-batch


def test_resampled_groups_with_an_engine_that_sleeps(colocated, path, make_trainer):
    trainer = make_trainer(
        saved(path),
        dataset=make_dataset(60),
        rewards=picky_reward,
        mixture={"resample": 3},
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        vllm_enable_sleep_mode=True,
        **colocated,
        **TERM,
    )
    policy = trainer.vllm_generation.llm.policy
    Steps(trainer, policy.events)
    run, awake = trainer._pool_phase.run, []
    trainer._pool_phase.run = lambda *args: awake.append(set(policy.awake)) or run(*args)

    class Optimizing(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            awake.append(set(policy.awake))

    trainer.add_callback(Optimizing())
    batches, original = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: batches.append(original(inputs)) or batches[-1]
    trainer.train()
    # Through the pool phase and the policy phase its memory is the trainer's; each generation finds the weights anew.
    assert awake == [set()] * 4
    generation = "wake weights, load, reset_prefix_cache, wake kv_cache, generate, sleep, "
    order = ", ".join([*kinds(policy.events), ""])
    assert re.fullmatch(f"sleep, (step, ({generation}){{2,4}}){{2}}", order), order
    check_synchronized(policy.events, 2)
    check_the_term_took_part(trainer)
    # The log-probabilities went with the groups that were moved.
    assert sum(history(trainer, "mixture/replaced_groups")) > 0
    generations = [event[2] for event in policy.events if event[0] == "generate"]
    sampled = {
        (tuple(prompt), tuple(token for token, _ in completion)): [value for _, value in completion]
        for generation in generations
        for prompt, completion in generation
    }
    for batch in batches:
        for row in range(len(batch["prompt_ids"])):
            prompt, completion = (
                tuple(batch[f"{part}_ids"][row][batch[f"{part}_mask"][row].bool()].tolist())
                for part in ("prompt", "completion")
            )
            found = batch["sampling_per_token_logps"][row][: len(completion)]
            assert torch.equal(found, torch.tensor(sampled[prompt, completion]))


def test_rloo_too(colocated, path, make_trainer, make_args, monkeypatch):
    args = make_args(MCPORLOOConfig, **colocated, **TERM)
    trainer = make_trainer(saved(path), trainer_class=MCPORLOOTrainer, args=args)
    events = trainer.vllm_generation.llm.events
    Steps(trainer, events)
    given, runs = watched(monkeypatch, RLOOTrainer, trainer)
    check_synchronized(events, 2)
    check_the_term_took_part(trainer)
    assert runs == 2 * len(given)  # for the old log-probabilities, which RLOO always computes, and to train
