"""The parameters' gradient of a real training step against one giant backward of L_policy + w * L."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOTrainer

from mcpo_rl.objective import RolloutPool, contrastive_loss

from .conftest import make_model

COEF = 0.5
TOLERANCE = {"forward": 1e-9, "training": 1e-9, "generation": 1e-6}
"""In float64. Llama's norms and rotary embeddings work in float32 and see other positions while decoding."""


class Compared(TrainerCallback):
    """At the first optimizer step: the gradients that are there, and those of one giant backward."""

    def __init__(self, trainer: Any, *, policy: bool) -> None:
        self.trainer = trainer
        self.batch: dict[str, Any] = {}
        self.head: torch.nn.Module | None = None
        self.found: dict[str, torch.Tensor] = {}
        self.expected: dict[str, torch.Tensor] = {}
        original = trainer._generate_and_score_completions

        def recorded(inputs: Any) -> Any:
            self.head = copy.deepcopy(trainer._pool_phase.objective.head)  # the pool phase updates it
            batch = original(inputs)
            if not policy:  # the contrastive part alone
                batch["advantages"].zero_()
            self.batch = dict(batch)
            return batch

        trainer._generate_and_score_completions = recorded
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.found:
            return
        self.found = self._take_gradients()
        self._giant_loss().backward()
        self.expected = self._take_gradients()

    def _take_gradients(self) -> dict[str, torch.Tensor]:
        taken = {}
        for name, parameter in self.trainer.accelerator.unwrap_model(self.trainer.model).named_parameters():
            if parameter.grad is not None:
                taken[name], parameter.grad = parameter.grad, None
        return taken

    def _giant_loss(self) -> torch.Tensor:
        trainer, batch = self.trainer, self.batch
        args, model = trainer.args, trainer.model
        plain = {key: value for key, value in batch.items() if not key.startswith("contrastive_")}
        trainer.current_gradient_accumulation_steps, kept = 1, trainer.current_gradient_accumulation_steps
        args.steps_per_generation, micro = 1, args.steps_per_generation
        policy_loss = GRPOTrainer._compute_loss(trainer, model, plain)
        trainer.current_gradient_accumulation_steps, args.steps_per_generation = kept, micro

        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        states = model(
            input_ids=ids, attention_mask=attention, output_hidden_states=True, use_cache=False
        ).hidden_states
        layer = args.feature_layer
        hidden = states[-1] if layer == -1 else states[layer + 1]  # states[0] is the embedding
        mask = batch["completion_mask"].to(hidden.dtype)[..., None]
        hidden = hidden[:, -mask.shape[1] :]
        features = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        if args.feature_pooling == "last":
            lengths = batch["completion_mask"].sum(dim=1)
            features = hidden[torch.arange(len(hidden)), lengths - 1]
        if args.feature_pooling == "lines":
            rows = zip(hidden, mask[..., 0], batch["completion_ids"], strict=True)
            features = torch.stack([mean_of_lines(*row) for row in rows])
        scored = trainer._scored
        pool = RolloutPool(
            features=features,
            domains=scored.domains,
            prompts=scored.prompts,
            correct=scored.rewards >= args.correct_threshold,
            usable=torch.ones(len(features), dtype=torch.bool),
        )
        if args.anchors == "prompt":
            pool = averaged_by_prompt(pool)
            features = pool.features
        loss, metrics = contrastive_loss(self.head(features), pool, args.contrastive_config())
        assert metrics["positives"] > 2 and metrics["in_domain_positives"] > 2
        return policy_loss + COEF * loss


def mean_of_lines(hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The mean over lines of each line's mean; a line ends at the last of the tokens 8 to 13 that follow some other."""
    found: list[list[int]] = [[]]
    for place in mask.nonzero().flatten().tolist():
        before = [8 <= int(ids[other]) <= 13 for other in found[-1]]
        if not 8 <= int(ids[place]) <= 13 and before and before[-1] and not all(before):
            found.append([])
        found[-1].append(place)
    return torch.stack([hidden[line].mean(dim=0) for line in found]).mean(dim=0)


def averaged_by_prompt(pool: RolloutPool) -> RolloutPool:
    """One row for the correct rollouts of each prompt, the others after them."""
    rows: dict[int, list[int]] = {}
    for row, (prompt, correct) in enumerate(zip(pool.prompts.tolist(), pool.correct.tolist(), strict=True)):
        rows.setdefault(prompt if correct else -1 - row, []).append(row)
    first = torch.tensor([members[0] for members in rows.values()])
    assert len(first) < len(pool)
    return RolloutPool(
        features=torch.stack([pool.features[members].mean(dim=0) for members in rows.values()]),
        domains=pool.domains[first],
        prompts=pool.prompts[first],
        correct=pool.correct[first],
    )


def relative_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    assert found.keys() == expected.keys()
    difference = sum((found[name] - expected[name]).square().sum().item() for name in found) ** 0.5
    return difference / sum(value.square().sum().item() for value in expected.values()) ** 0.5


def compare(make_trainer: Any, *, dtype: torch.dtype, policy: bool = True, model: Any = None, **overrides: Any) -> Any:
    settings = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "num_generations": 4,
        "contrastive_coef": COEF,
        "contrastive_warmup_steps": 0,
        "max_grad_norm": 0.0,
        "max_steps": 1,
        "max_completion_length": 12,
        **overrides,
    }
    trainer = make_trainer(model if model is not None else make_model(dtype, num_hidden_layers=3), **settings)
    compared = Compared(trainer, policy=policy)
    trainer.train()
    lengths = compared.batch["completion_mask"].sum(dim=1)
    assert lengths.min() < lengths.max()  # uneven lengths, or padding would not be tested
    return trainer, relative_error(compared.found, compared.expected)


@pytest.mark.parametrize("source", TOLERANCE)
def test_contrastive_gradient_in_float64(make_trainer, source):
    trainer, error = compare(make_trainer, dtype=torch.float64, policy=False, feature_source=source)
    assert trainer.feature_source_in_use == source
    assert error < TOLERANCE[source]


@pytest.mark.parametrize(("layer", "pooling"), [(0, "mean"), (1, "mean"), (-1, "last")])
@pytest.mark.parametrize("source", TOLERANCE)
def test_other_layers_and_poolings(make_trainer, source, layer, pooling):
    trainer, error = compare(
        make_trainer,
        dtype=torch.float64,
        policy=False,
        feature_source=source,
        feature_layer=layer,
        feature_pooling=pooling,
    )
    assert trainer.feature_source_in_use == source
    assert error < TOLERANCE[source]


@pytest.mark.parametrize("variant", ["detach_positives", "mutual_positives"])
def test_variants_of_the_losses(make_trainer, variant):
    _, error = compare(make_trainer, dtype=torch.float64, policy=False, **{variant: True})
    assert error < 1e-9


@pytest.mark.parametrize("micro_batch", [4, 16])
def test_prompts_as_anchors(make_trainer, micro_batch):
    _, error = compare(
        make_trainer,
        dtype=torch.float64,
        policy=False,
        anchors="prompt",
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=32 // micro_batch,
    )
    assert error < 1e-9


def test_whole_gradient_in_float64(make_trainer):
    trainer, error = compare(make_trainer, dtype=torch.float64)
    assert trainer.feature_source_in_use == "training"
    assert error < 1e-6  # TRL's fused LM head itself works in float32


@pytest.mark.parametrize("source", TOLERANCE)
@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_whole_gradient_in_float32(make_trainer, source, loss_type):
    trainer, error = compare(make_trainer, dtype=torch.float32, feature_source=source, loss_type=loss_type)
    assert trainer.feature_source_in_use == source
    assert error < 1e-4


@pytest.mark.parametrize("layer", [-1, 1])
def test_one_micro_batch_a_pool(make_trainer, layer):
    trainer, error = compare(
        make_trainer,
        dtype=torch.float64,
        policy=False,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        feature_layer=layer,
    )
    assert trainer.feature_source_in_use == "training"
    assert error < 1e-9


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("layer", [-1, 0])
def test_with_gradient_checkpointing(make_trainer, reentrant, layer):
    _, error = compare(
        make_trainer,
        dtype=torch.float32,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": reentrant},
        feature_layer=layer,
    )
    assert error < 1e-4


def test_with_reference_model(make_trainer, tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    _, error = compare(make_trainer, dtype=torch.float32, model=model, beta=0.1)
    assert error < 1e-4


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_with_lora(make_trainer, beta):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    trainer, error = compare(make_trainer, dtype=torch.float32, options={"peft_config": lora}, beta=beta)
    assert trainer.feature_source_in_use == "generation"
    assert error < 1e-4


def test_from_the_old_log_probs(make_trainer):
    # One generation batch for two optimizer steps: TRL then computes old log-probabilities. Each step sees half of the
    # rollouts, with their gradients doubled; the mean over both, at weights that do not move, is the gradient of L.
    trainer = make_trainer(
        make_model(torch.float64),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        steps_per_generation=8,
        contrastive_coef=COEF,
        contrastive_warmup_steps=0,
        max_grad_norm=0.0,
        learning_rate=0.0,
        max_steps=2,
    )
    compared = Compared(trainer, policy=False)
    summed: dict[str, torch.Tensor] = {}

    class Sum(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for name, gradient in compared._take_gradients().items():
                summed[name] = summed.get(name, 0) + gradient / 2

    trainer.remove_callback(compared)
    trainer.add_callback(Sum())
    trainer.train()
    assert trainer.feature_source_in_use == "old_logps"
    compared._giant_loss().backward()
    assert relative_error(summed, compared._take_gradients()) < 1e-9
