"""The places in TRL and transformers that the trainers hang on: one that moves fails here, and loudly at run time.

What must never happen is that the term silently stays out and plain GRPO is trained under the name of MCPO.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import pytest
import torch
from trl import GRPOTrainer, RLOOTrainer

from mcpo_rl.trainers.trl import MCPOTrainer
from mcpo_rl.trainers.trl.base import ContrastiveTrainer
from mcpo_rl.trainers.trl.online import OnlineContrastive

from .conftest import history, make_dataset

HOOKS: dict[str, list[str]] = {
    "__init__": ["self", "model", "reward_funcs", "args", "train_dataset", "eval_dataset", "processing_class"],
    "_set_signature_columns_if_needed": ["self"],
    "_get_train_sampler": ["self", "dataset"],
    "_init_training_state": [
        "self",
        "max_steps",
        "num_update_steps_per_epoch",
        "num_train_epochs",
        "resume_from_checkpoint",
        "trial",
    ],
    "_generate": ["self", "prompts"],
    "_generate_single_turn": ["self", "prompt_ids"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_prepare_inputs": ["self", "generation_batch"],
    "_get_per_token_logps_and_entropies": ["self", "model", "input_ids", "attention_mask", "logits_to_keep"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_compute_loss": ["self", "model", "inputs"],
    "training_step": ["self", "model", "inputs", "num_items_in_batch"],
    "train": ["self", "resume_from_checkpoint", "trial"],
    "_run_epoch": ["self", "model", "epoch"],
    "_save_checkpoint": ["self", "model", "trial"],
    "evaluate": ["self", "eval_dataset", "ignore_keys", "metric_key_prefix"],
}
"""Methods of TRL's trainers that ours extend, with the parameters that they count on."""


@pytest.mark.parametrize("trainer_class", [GRPOTrainer, RLOOTrainer])
@pytest.mark.parametrize("name", HOOKS)
def test_the_hook_points_are_where_they_were(trainer_class, name):
    assert hasattr(trainer_class, name), f"{trainer_class.__name__} has no {name} any more"
    parameters = list(inspect.signature(getattr(trainer_class, name)).parameters)
    assert parameters[: len(HOOKS[name])] == HOOKS[name]


def test_the_list_of_hook_points_is_complete():
    extended = set()
    ours = [part for part in MCPOTrainer.__mro__ if part.__module__.startswith("mcpo_rl.")]
    assert {ContrastiveTrainer, OnlineContrastive} < {*ours}
    for mixin in ours:
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(mixin)))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
                called = node.value.func
                if isinstance(called, ast.Name) and called.id == "super":
                    extended.add(node.attr)
    assert {name for name in extended if hasattr(GRPOTrainer, name)} == set(HOOKS)


def test_a_run_goes_through_every_hook_point(make_trainer, monkeypatch):
    seen = set()

    def spied(name: str) -> Any:
        original = getattr(MCPOTrainer, name)

        def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.add(name)
            return original(self, *args, **kwargs)

        return spy

    for name in HOOKS:
        monkeypatch.setattr(MCPOTrainer, name, spied(name))
    options = {"mixture": "equal", "save_strategy": "steps", "save_steps": 1, "remove_unused_columns": True}
    options |= {"eval_strategy": "steps", "eval_steps": 1, "options": {"eval_dataset": make_dataset(4)}}
    make_trainer(max_steps=1, **options).train()
    make_trainer(max_steps=2, **options).train(resume_from_checkpoint=True)
    assert seen == set(HOOKS)


def moved(**methods: Any) -> type:
    """Return MCPO on a TRL in which these methods are other ones."""
    release = type("GRPOTrainer", (GRPOTrainer,), methods)
    names = ("configuration", "generated_names", "old_log_probs_name", "old_log_probs_always")
    return type("MCPOTrainer", (OnlineContrastive, release), {name: getattr(MCPOTrainer, name) for name in names})


def loss_elsewhere(self: Any, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
    return GRPOTrainer._compute_loss(self, model, inputs)


def known_inputs_alone(self: Any, generation_batch: Any) -> Any:
    inputs = GRPOTrainer._prepare_inputs(self, generation_batch)
    return {name: value for name, value in inputs.items() if not name.startswith("contrastive")}


def rewards_elsewhere(self: Any, inputs: Any) -> Any:
    self._calculate_rewards = lambda *args: GRPOTrainer._calculate_rewards(self, *args)
    return GRPOTrainer._generate_and_score_completions(self, inputs)


def generation_elsewhere(self: Any, inputs: Any) -> Any:
    self._generate = lambda prompts: GRPOTrainer._generate(self, prompts)
    return GRPOTrainer._generate_and_score_completions(self, inputs)


def sampler_elsewhere(self: Any) -> Any:
    self._get_train_sampler = lambda data=None: GRPOTrainer._get_train_sampler(self, data)
    return GRPOTrainer.get_train_dataloader(self)


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ({"compute_loss": loss_elsewhere}, {}, "added 0 times to the loss of a micro-batch"),
        ({"_prepare_inputs": known_inputs_alone}, {}, "added 0 times to the loss of a micro-batch"),
        ({"_generate_and_score_completions": rewards_elsewhere}, {}, "did not call `_calculate_rewards`"),
        ({"get_train_dataloader": sampler_elsewhere}, {"mixture": "equal"}, "did not call `_get_train_sampler`"),
        (
            {"_generate_and_score_completions": generation_elsewhere},
            {"mixture": {"weights": "equal", "resample": 1}},
            "did not call `_generate`",
        ),
    ],
)
def test_a_trl_that_works_in_another_way_is_loud(make_trainer, methods, options, message):
    trainer = make_trainer(trainer_class=moved(**methods), dataset=make_dataset(60), **options)
    with pytest.raises(RuntimeError, match=message):
        trainer.train()
    assert not history(trainer, "loss")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("base", "went through the backbone 0 times"),
        ("features.source", "Hidden states of 0 rollouts were read where 12 were expected"),
    ],
)
def test_a_model_that_is_called_in_another_way_is_loud(make_trainer, monkeypatch, module, message):
    # As if the hook sat on a module that no longer runs, in the policy phase or in the pool phase.
    trainer = make_trainer(feature_source="forward")
    monkeypatch.setattr(f"mcpo_rl.trainers.trl.{module}.find_feature_module", lambda model, layer: torch.nn.Identity())
    with pytest.raises(RuntimeError, match=message):
        trainer.train()
