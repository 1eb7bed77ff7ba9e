"""DPO with the contrastive term: the same exact gradient, over the preference rows of one optimizer step."""

from __future__ import annotations

import copy
import gc
import inspect
import shutil
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from mcpo_rl.errors import ConfigError, ProblemError, UnknownDomainError
from mcpo_rl.objective import RolloutPool, contrastive_loss
from mcpo_rl.trainers.trl.config import MCPODPOConfig
from mcpo_rl.trainers.trl.dpo import MCPODPOTrainer

from .conftest import ALPHABET, history, make_model, make_tokenizer, parameters_of
from .test_exact_gradient import mean_of_lines, relative_error

COEF = 0.5
DOMAINS = ("math", "code", "logic")


def make_preferences(rows: int = 12, domains: tuple[str, ...] = DOMAINS) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [f"{ALPHABET[row % 8]}{'+' * (row % 3)}{row}=?" for row in range(rows)],
            "chosen": [f"{row * 7}{'-a' * (row % 4)}" for row in range(rows)],
            "rejected": [f"b{row}{'=' * (row % 5)}" for row in range(rows)],
            "domain": [domains[row % len(domains)] for row in range(rows)],
        }
    )


@pytest.fixture(scope="module", autouse=True)
def quick_garbage_collection():
    """Trainers collect garbage when they start; what the imports left need not be looked through each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def make_dpo(tmp_path):
    def build(
        model: Any = None,
        cls: type = MCPODPOTrainer,
        config: type = MCPODPOConfig,
        dataset: Any = None,
        options: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> Any:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 3,
            "learning_rate": 1e-3,
            "max_steps": 3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": [],
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "gradient_checkpointing": False,
            "seed": 7,
        }
        model = model if model is not None else make_model()
        options = {"ref_model": None, **(options or {})}
        given = {**settings, **overrides}
        if "peft_config" not in options and not given.get("precompute_ref_log_probs") and options["ref_model"] is None:
            options["ref_model"] = make_model(seed=1, num_hidden_layers=len(model.model.layers))
        return cls(
            model,
            args=config(**given),
            train_dataset=dataset if dataset is not None else make_preferences(),
            processing_class=make_tokenizer(),
            **options,
        )

    return build


FIXED = {"contrastive_coef": COEF, "contrastive_warmup_steps": 0, "max_grad_norm": 0.0}


class Compared(TrainerCallback):
    """At every optimizer step: the gradients that are there, and those of one giant backward."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.errors, self.losses = trainer, [], []
        self.metrics: list[dict[str, float]] = []
        fetch = trainer.get_batch_samples

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.head = copy.deepcopy(trainer._pool_phase.objective.head)  # the pool phase updates it
            self.batches, items = fetch(*args, **kwargs)
            return self.batches, items

        trainer.get_batch_samples = recorded
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        found = self._take_gradients()
        loss = self._giant_loss()
        self.losses.append(loss.item())
        loss.backward()
        expected = self._take_gradients()
        self.errors.append(relative_error(found, expected))
        for name, parameter in self.trainer.model.named_parameters():
            parameter.grad = found.get(name)

    def _take_gradients(self) -> dict[str, torch.Tensor]:
        taken = {}
        for name, parameter in self.trainer.model.named_parameters():
            if parameter.grad is not None:
                taken[name], parameter.grad = parameter.grad, None
        return taken

    def _giant_loss(self) -> torch.Tensor:
        trainer, losses, features, rows, correct = self.trainer, [], [], [], []
        for batch in self.batches:
            plain = {name: values for name, values in batch.items() if name != "contrastive_part"}
            losses.append(DPOTrainer._compute_loss(trainer, trainer.model, plain, False))
            ids, attention, mask = (plain[name] for name in ("input_ids", "attention_mask", "completion_mask"))
            states = trainer.model(input_ids=ids, attention_mask=attention, output_hidden_states=True).hidden_states
            layer = trainer.args.feature_layer
            hidden = states[-1] if layer == -1 else states[layer + 1]  # states[0] is the embedding
            if trainer.args.feature_pooling == "lines":
                features.append(torch.stack([mean_of_lines(*row) for row in zip(hidden, mask, ids, strict=True)]))
            else:
                features.append((hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))
            rows += [self._row(one) for one in ids]
            correct += [place < len(ids) // 2 for place in range(len(ids))]
        pool = RolloutPool(
            features=torch.cat(features),
            domains=torch.tensor([row % len(DOMAINS) for row in rows]),
            prompts=torch.tensor(rows),
            correct=torch.tensor(correct),
        )
        loss, metrics = contrastive_loss(self.head(pool.features), pool, trainer.args.contrastive_config())
        self.metrics.append(metrics)
        return sum(losses) / len(losses) + COEF * loss

    def _row(self, ids: torch.Tensor) -> int:
        """The row of the data set that a rollout is of, read from its prompt."""
        text = self.trainer.processing_class.decode(ids).replace(" ", "")
        return int(text.split("=?")[0][1:].strip("+"))


def compare(make_dpo: Any, *, dtype: torch.dtype, policy: bool = True, model: Any = None, **overrides: Any) -> Any:
    settings = {**FIXED, "max_steps": 1, "min_transferability": -1.0, **overrides}
    if not policy:
        settings["loss_weights"] = [0.0]
    trainer = make_dpo(model if model is not None else make_model(dtype, num_hidden_layers=3), **settings)
    compared = Compared(trainer)
    trainer.train()
    assert all(metrics["positives"] > 2 for metrics in compared.metrics)
    assert min(history(trainer, "contrastive/grad_norm")) > 0
    assert history(trainer, "loss") == pytest.approx(compared.losses, rel=1e-5)
    return compared.errors


@pytest.mark.parametrize(("rows", "accumulation"), [(8, 1), (4, 2), (2, 4)])
def test_contrastive_gradient_in_float64(make_dpo, rows, accumulation):
    sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
    assert compare(make_dpo, dtype=torch.float64, policy=False, **sizes)[0] < 1e-9


def test_an_incomplete_last_step_of_an_epoch(make_dpo):
    # Micro-batches of 2 rows, three to a step: the second step has two, and the last of them is of one row.
    errors = compare(make_dpo, dtype=torch.float64, policy=False, dataset=make_preferences(9), max_steps=3)
    assert len(errors) == 3 and max(errors) < 1e-9


@pytest.mark.parametrize(
    "options",
    [
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {
            "loss_type": ["sigmoid", "bco_pair", "sft"],
            "loss_weights": [0.8, 0.2, 1.0],
            "gradient_checkpointing": True,
            "gradient_checkpointing_kwargs": {"use_reentrant": True},
        },
        {
            "loss_type": "ipo",
            "ld_alpha": 0.5,
            "gradient_checkpointing": True,
            "gradient_checkpointing_kwargs": {"use_reentrant": False},
            "feature_layer": 0,
        },
        {"precompute_ref_log_probs": True, "use_weighting": True, "max_length": 8},
    ],
    ids=["sigmoid", "several losses", "ipo", "precomputed"],
)
def test_whole_gradient_in_float32(make_dpo, options):
    assert compare(make_dpo, dtype=torch.float32, **options)[0] < 1e-4


def test_with_lora(make_dpo):
    # The reference is the same model with LoRA switched off: its pass goes through the tapped module too.
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    options = {"options": {"peft_config": lora}, "gradient_checkpointing": True}
    assert compare(make_dpo, dtype=torch.float32, **options)[0] < 1e-4


def test_a_reference_that_follows_the_policy(make_dpo):
    errors = compare(
        make_dpo, dtype=torch.float32, sync_ref_model=True, ref_model_sync_steps=1, max_steps=2, learning_rate=1e-2
    )
    assert max(errors) < 1e-4


def test_without_the_term_it_is_dpo_bit_for_bit(make_dpo):
    runs = [
        make_dpo(cls=DPOTrainer, config=DPOConfig),
        make_dpo(contrastive_coef=0.0, dataset=make_preferences().remove_columns("domain")),
    ]
    for trainer in runs:
        trainer.train()
    plain, without = (parameters_of(trainer) for trainer in runs)
    assert all(torch.equal(plain[name], without[name]) for name in plain)
    assert history(runs[0], "loss") == history(runs[1], "loss")
    assert not any(key.startswith("contrastive/") for row in runs[1].state.log_history for key in row)


def test_relative_strength_and_evaluation(make_dpo):
    trainer = make_dpo(
        options={"eval_dataset": make_preferences(4)},
        eval_strategy="steps",
        eval_steps=2,
        contrastive_warmup_steps=0,
        contrastive_grad_ratio=0.3,
        max_steps=4,
    )
    trainer.train()
    weights = history(trainer, "contrastive/weight")
    assert weights[0] == 0.0 and min(weights[1:]) > 0  # nothing was measured before the first step
    # Against the running mean of the policy's norm, which moves little from step to step here.
    assert all(0.2 < ratio < 0.4 for ratio in history(trainer, "contrastive/grad_ratio")[1:])
    evaluated = [row for row in trainer.state.log_history if "eval_loss" in row]
    assert type(trainer.data_collator) is DataCollatorForPreference
    assert len(evaluated) == 2 and not any("contrastive" in key for row in evaluated for key in row)


@pytest.mark.parametrize(("rows", "accumulation"), [(10, 2), (12, 3)])
def test_resumed_equals_uninterrupted(make_dpo, tmp_path, rows, accumulation):
    # From the second epoch, after an incomplete step; and from the end of an epoch.
    settings = {
        "save_strategy": "steps",
        "save_steps": 4,
        "max_steps": 5,
        "contrastive_warmup_steps": 3,
        "transferability": "random",
        "dataset": make_preferences(rows),
        "gradient_accumulation_steps": accumulation,
    }
    straight = make_dpo(output_dir=str(tmp_path / "straight"), **settings)
    straight.train()
    shutil.copytree(tmp_path / "straight" / "checkpoint-4", tmp_path / "resumed" / "checkpoint-4")
    torch.manual_seed(99)  # whatever the new process drew before
    resumed = make_dpo(output_dir=str(tmp_path / "resumed"), **settings)
    resumed.train(resume_from_checkpoint=True)
    expected, found = parameters_of(straight), parameters_of(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    expected, found = (trainer._pool_phase.objective.head.state_dict() for trainer in (straight, resumed))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert history(straight, "loss") == history(resumed, "loss")


def test_rows_that_stream_in(make_dpo):
    trainer = make_dpo(dataset=make_preferences().to_iterable_dataset(), contrastive_warmup_steps=0)
    trainer.train()
    assert trainer.domains.names == ["code", "logic", "math"]
    assert history(trainer, "contrastive/anchors") == [6.0, 6.0, 6.0]
    streamed = make_preferences(domains=("math", "coed")).to_iterable_dataset()
    with pytest.raises(UnknownDomainError, match="unknown domain 'coed'; known are code, math"):
        make_dpo(dataset=streamed, known_domains=["math", "code"]).train()


class Emptied:
    """A collator that leaves the first chosen completion of each batch without a token."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, rows: Any) -> Any:
        batch = self.collator(rows)
        batch["completion_mask"][0] = 0
        return batch


def test_a_completion_without_tokens_has_no_part(make_dpo):
    trainer, pools = make_dpo(max_steps=1), []
    trainer.data_collator = Emptied(trainer.data_collator)
    step = trainer._pool_phase.objective.step
    trainer._pool_phase.objective.step = lambda pool: pools.append(pool) or step(pool)
    trainer.train()
    assert pools[0].usable.tolist() == [False, True, True, True] * 3
    assert pools[0].correct.tolist() == [True, True, False, False] * 3
    assert pools[0].prompts.unique().numel() == 6 and torch.equal(pools[0].prompts[:2], pools[0].prompts[2:4])


HOOKS = {
    "__init__": ["self", "model", "ref_model", "args", "data_collator", "train_dataset"],
    "_set_signature_columns_if_needed": ["self"],
    "get_train_dataloader": ["self"],
    "get_batch_samples": ["self", "epoch_iterator", "num_batches", "device"],
    "_compute_loss": ["self", "model", "inputs", "return_outputs"],
}
"""Methods of TRL's trainer that ours extends beside those of `ContrastiveTrainer`."""


@pytest.mark.parametrize("name", HOOKS)
def test_the_hook_points_are_where_they_were(name):
    assert [*inspect.signature(getattr(DPOTrainer, name)).parameters][: len(HOOKS[name])] == HOOKS[name]
    assert name in vars(MCPODPOTrainer)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("get_batch_samples", "gradient was added 0 times"),
        ("_compute_loss", "gradient was added 0 times"),
        ("get_train_dataloader", "do not say of which domains"),
        ("_set_signature_columns_if_needed", "no column 'domain'"),
    ],
)
def test_a_moved_hook_point_is_loud(make_dpo, monkeypatch, name, message):
    # As if a new release did the same in another place.
    monkeypatch.delattr(MCPODPOTrainer, name)
    with pytest.raises((RuntimeError, ProblemError), match=message):
        make_dpo().train()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding_free": True}, "padding_free=True cannot be combined"),
        ({"accelerator_config": {"dispatch_batches": True}}, "dispatch_batches=True cannot be combined"),
        ({"feature_pooling": "maen"}, "feature_pooling is 'maen'"),
        ({"config": DPOConfig}, "args is a DPOConfig; expected an MCPODPOConfig"),
    ],
)
def test_options_that_cannot_work(make_dpo, change, message):
    with pytest.raises(ConfigError, match=message):
        make_dpo(**change)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (make_preferences().rename_column("domain", "domains"), "no column 'domain'; it has chosen, domains"),
        (make_preferences().rename_column("rejected", "bad"), "no column 'rejected'; it has bad"),
        (make_preferences().select([]), "empty"),
        (make_preferences(domains=("math", "")), "row 1 of the training data: column 'domain' holds ''"),
    ],
)
def test_data_that_cannot_be_used(make_dpo, dataset, message):
    with pytest.raises(ProblemError, match=message):
        make_dpo(dataset=dataset)


def test_one_domain_only_warns(make_dpo):
    with pytest.warns(UserWarning, match="of one domain .*plain DPO"):
        trainer = make_dpo(dataset=make_preferences(domains=("math",)), max_steps=1, contrastive_coef=1.0)
    trainer.train()
    assert history(trainer, "contrastive/grad_norm") == [0.0]
