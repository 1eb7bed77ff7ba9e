"""The contrastive part is the same whatever the policy objective: every loss of TRL's, GSPO and RLOO.

Two trainers see the same rollouts at the same weights, one with the term and one without. The difference of their
parameter gradients has to be the gradient of w * L, taken by one backward pass over the whole batch.
"""

from __future__ import annotations

import copy
import inspect
import re
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOTrainer, RLOOConfig, RLOOTrainer

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective import RolloutPool, contrastive_loss
from mcpo_rl.trainers.trl import MCPOConfig, MCPORLOOConfig, MCPORLOOTrainer, MCPOTrainer

from .conftest import history, make_dataset, make_model, parameters_of

COEF = 0.5
TOLERANCE = 1e-6
"""In float64. Llama's norms work in float32, so the gradient of a sum is the sum of the gradients to about 1e-7."""
LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo")
OBJECTIVES: dict[str, dict[str, Any]] = {
    **{loss_type: {"loss_type": loss_type} for loss_type in LOSS_TYPES if loss_type != "luspo"},
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "two-sided clipping and KL": {"delta": 1.5, "beta": 0.05},
    "entropy bonus on uncertain tokens": {"entropy_coef": 0.01, "top_entropy_quantile": 0.5},
}


class Recorded(TrainerCallback):
    """The gradients at the first optimizer step; with them the batch and the head of the pool phase."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.gradients, self.batch, self.head = trainer, {}, {}, None
        original = trainer._generate_and_score_completions

        def recorded(inputs: Any) -> Any:
            if trainer._pool_phase is not None:
                self.head = copy.deepcopy(trainer._pool_phase.objective.head)  # the pool phase updates it
            self.batch = dict(original(inputs))
            return dict(self.batch)

        trainer._generate_and_score_completions = recorded
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, *arguments: Any, **kwargs: Any) -> None:
        self.gradients = {name: parameter.grad.clone() for name, parameter in self.trainer.model.named_parameters()}


def saved_model(directory: str, dtype: torch.dtype = torch.float64) -> Any:
    """A model with a place of its own, where TRL finds its reference model again."""
    make_model(dtype).save_pretrained(f"{directory}/model")
    return AutoModelForCausalLM.from_pretrained(f"{directory}/model", dtype=dtype)


def run(make_trainer: Any, trainer_class: type, configuration: type, make_args: Any, **options: Any) -> Recorded:
    args = make_args(
        configuration,
        **{
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 4,
            "contrastive_warmup_steps": 0,
            "max_grad_norm": 0.0,
            "max_steps": 1,
            **options,
        },
    )
    trainer = make_trainer(saved_model(args.output_dir), args=args, trainer_class=trainer_class)
    recorded = Recorded(trainer)
    trainer.train()
    return recorded


def gradient_of_the_term(recorded: Recorded) -> dict[str, torch.Tensor]:
    """Return the gradient of COEF * L over the whole batch at the weights of the start."""
    trainer, batch = recorded.trainer, recorded.batch
    model = make_model(torch.float64)
    states = model.model(
        input_ids=torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
        attention_mask=torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
        use_cache=False,
    ).last_hidden_state
    mask = batch["completion_mask"].double()
    completion = states[:, -mask.shape[1] :]
    features = torch.einsum("btd,bt->bd", completion, mask) / mask.sum(dim=1, keepdim=True)
    scored = trainer._scored
    pool = RolloutPool(
        features=features,
        domains=scored.domains,
        prompts=scored.prompts,
        correct=scored.rewards >= 1.0,
        usable=torch.ones(len(features), dtype=torch.bool),
    )
    loss, metrics = contrastive_loss(recorded.head(features), pool, trainer.args.contrastive_config())
    assert metrics["positives"] > 2
    (COEF * loss).backward()
    return {name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in model.named_parameters()}


def error_of_the_difference(with_term: Recorded, without: Recorded) -> float:
    expected = gradient_of_the_term(with_term)
    found = {name: with_term.gradients[name] - without.gradients[name] for name in without.gradients}
    assert torch.equal(with_term.batch["completion_ids"], without.batch["completion_ids"])
    assert max(gradient.abs().max() for gradient in without.gradients.values()) > 0
    difference = sum((found[name] - expected[name]).square().sum() for name in expected).sqrt()
    return float(difference / sum(value.square().sum() for value in expected.values()).sqrt())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_loss_of_grpo(make_trainer, make_args, objective, tmp_path):
    options = dict(OBJECTIVES[objective])
    common = {"feature_source": "forward", **options}
    with_term = run(make_trainer, MCPOTrainer, MCPOConfig, make_args, contrastive_coef=COEF, **common)
    without = run(make_trainer, MCPOTrainer, MCPOConfig, make_args, contrastive_coef=0.0, **common)
    assert error_of_the_difference(with_term, without) < TOLERANCE


def test_every_loss_of_this_trl_is_tried():
    """A new loss in a release of TRL has to be tried here first."""
    source = inspect.getsource(GRPOTrainer._compute_loss)
    compared = re.findall(r"self\.loss_type (?:==|in) (\[[^]]+\]|\"\w+\")", source)
    assert {name for text in compared for name in re.findall(r'"(\w+)"', text)} == set(LOSS_TYPES)


@pytest.mark.parametrize(("micro_batch", "accumulation", "steps"), [(16, 1, 1), (4, 4, 4), (2, 8, 8), (4, 2, 4)])
def test_rloo(make_trainer, make_args, micro_batch, accumulation, steps):
    sizes = {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": steps,
        "beta": 0.0,
    }
    with_term = run(make_trainer, MCPORLOOTrainer, MCPORLOOConfig, make_args, contrastive_coef=COEF, **sizes)
    assert with_term.trainer.feature_source_in_use == "old_logps"
    without = run(make_trainer, MCPORLOOTrainer, MCPORLOOConfig, make_args, contrastive_coef=0.0, **sizes)
    if steps == accumulation:
        assert error_of_the_difference(with_term, without) < TOLERANCE
    else:  # half of the rollouts in each step: the first step's part and the second's make the whole
        assert error_of_two_halves(with_term, without) < TOLERANCE


def error_of_two_halves(with_term: Recorded, without: Recorded) -> float:
    """As `error_of_the_difference`, at a learning rate of 0, over the mean of two optimizer steps."""
    sums = []
    for recorded in (with_term, without):
        trainer = recorded.trainer
        fresh = type(trainer)(
            make_model(torch.float64),
            trainer.reward_funcs,
            type(trainer.args)(**{**_own_arguments(trainer.args), "max_steps": 2, "learning_rate": 0.0}),
            make_dataset(),
            processing_class=trainer.processing_class,
        )
        sums.append(_mean_gradient(Recorded(fresh)))
    expected = gradient_of_the_term(sums[0][0])
    found = {name: sums[0][1][name] - sums[1][1][name] for name in expected}
    difference = sum((found[name] - expected[name]).square().sum() for name in expected).sqrt()
    return float(difference / sum(value.square().sum() for value in expected.values()).sqrt())


def _own_arguments(args: Any) -> dict[str, Any]:
    names = (
        "output_dir per_device_train_batch_size gradient_accumulation_steps steps_per_generation num_generations "
        "max_completion_length logging_steps save_strategy report_to bf16 use_cpu disable_tqdm seed beta "
        "contrastive_coef contrastive_warmup_steps max_grad_norm"
    )
    return {name: getattr(args, name) for name in names.split()} | {"gradient_checkpointing": False}


def _mean_gradient(recorded: Recorded) -> tuple[Recorded, dict[str, torch.Tensor]]:
    seen: list[dict[str, torch.Tensor]] = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, *arguments: Any, **kwargs: Any) -> None:
            seen.append({name: p.grad.clone() for name, p in recorded.trainer.model.named_parameters()})

    recorded.trainer.add_callback(Keep())
    recorded.trainer.train()
    assert len(seen) == 2
    return recorded, {name: (seen[0][name] + seen[1][name]) / 2 for name in seen[0]}


def test_rloo_without_the_term_is_trls(make_trainer, make_args, tmp_path):
    trainers = []
    for trainer_class, configuration, own in (
        (MCPORLOOTrainer, MCPORLOOConfig, {"contrastive_coef": 0.0}),
        (RLOOTrainer, RLOOConfig, {}),
    ):
        args = make_args(configuration, beta=0.05, max_steps=2, **own)
        model = saved_model(str(tmp_path), torch.float32)
        trainers.append(make_trainer(model, args=args, trainer_class=trainer_class))
        trainers[-1].train()
    ours, theirs = trainers
    for name, parameter in parameters_of(theirs).items():
        assert torch.equal(parameters_of(ours)[name], parameter), name
    assert history(ours, "loss") == history(theirs, "loss")
    assert history(ours, "domain/math/accuracy")


def test_rloo_with_relative_strength_mixture_and_resampling(make_trainer, make_args):
    args = make_args(
        MCPORLOOConfig,
        beta=0.0,
        mixture={"weights": "equal", "resample": 2},
        contrastive_warmup_steps=0,
        max_steps=3,
        per_device_train_batch_size=6,
        gradient_accumulation_steps=2,
    )
    trainer = make_trainer(args=args, trainer_class=MCPORLOOTrainer, dataset=make_dataset(60))
    trainer.train()
    weights, ratios = history(trainer, "contrastive/weight"), history(trainer, "contrastive/grad_ratio")
    assert weights[0] == 0 < weights[1]
    assert ratios[-1] > 0
    assert sum(history(trainer, "mixture/replaced_groups")) > 0


def test_rloo_with_another_configuration(make_trainer, make_args):
    with pytest.raises(ConfigError, match="expected an MCPORLOOConfig"):
        make_trainer(args=make_args(MCPOConfig), trainer_class=MCPORLOOTrainer)
