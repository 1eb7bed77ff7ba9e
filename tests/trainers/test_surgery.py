"""PCGrad: the projection against naive loops over vectors, a real training step against per-domain autograd."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl import MCPOConfig, MCPOTrainer
from mcpo_rl.trainers.trl.surgery import PCGradConfig, PCGradTrainer
from mcpo_rl.trainers.trl.surgery.gradients import SeparateGradients
from mcpo_rl.trainers.trl.surgery.projection import combined_norm, project_conflicting, random_orders
from mcpo_rl.trainers.trl.surgery.requirements import check_surgery

from .conftest import history, make_dataset, make_model, parameters_of, parity_reward


def naive_pcgrad(gradients: list[torch.Tensor], orders: list[list[int]]) -> torch.Tensor:
    """Algorithm 1 of Yu et al. 2020, vector by vector."""
    step = torch.zeros_like(gradients[0])
    for i, order in enumerate(orders):
        projected = gradients[i].clone()
        for j in order:
            if projected @ gradients[j] < 0:
                projected -= (projected @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        step += projected
    return step


# -- the projection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_projection_is_the_algorithm_on_vectors(seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(5)]
    orders = random_orders(5, seed=seed, step=3)
    gram = torch.stack(gradients) @ torch.stack(gradients).T
    projection = project_conflicting(gram, orders)
    found = sum(weight * gradient for weight, gradient in zip(projection.weights, gradients, strict=True))
    expected = naive_pcgrad(gradients, orders)
    assert projection.projected > 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    norm = combined_norm(gram[None], projection.weights[None])
    assert norm.item() == pytest.approx(expected.norm().item(), rel=1e-12)


def test_two_conflicting_gradients_by_hand():
    # g_0 = (1, 0), g_1 = (-1, 1): p_0 = (1/2, 1/2), p_1 = (0, 1); the step (1/2, 3/2) has no part against either.
    projection = project_conflicting(torch.tensor([[1.0, -1.0], [-1.0, 2.0]]), [[1], [0]])
    assert projection.weights.tolist() == [2.0, 1.5] and projection.projected == 2


@pytest.mark.parametrize(
    ("gram", "weights"),
    [
        ([[1.0, 0.5], [0.5, 1.0]], [1.0, 1.0]),  # no conflict
        ([[1.0, 0.0], [0.0, 0.0]], [1.0, 1.0]),  # a domain without signal
        ([[1.0, -1.0], [-1.0, 1.0]], [2.0, 2.0]),  # opposite: each is projected to 0
        ([[math.nan, math.nan], [math.nan, 1.0]], [1.0, 1.0]),  # broken: stays as it is, for others to see
        ([[4.0]], [1.0]),
    ],
)
def test_edges_of_the_projection(gram, weights):
    orders = random_orders(len(gram), seed=0, step=0)
    assert project_conflicting(torch.tensor(gram), orders).weights.tolist() == weights


def test_orders_are_of_seed_and_step_alone():
    assert random_orders(6, seed=1, step=2) == random_orders(6, seed=1, step=2)
    assert random_orders(6, seed=1, step=2) != random_orders(6, seed=1, step=3)
    assert random_orders(6, seed=1, step=2) != random_orders(6, seed=2, step=2)
    assert [sorted(order) for order in random_orders(3, seed=0, step=0)] == [[1, 2], [0, 2], [0, 1]]


# -- gradients by domain -----------------------------------------------------------------------------------------------


def as_it_is(values: torch.Tensor, how: str) -> torch.Tensor:
    return values


@pytest.mark.parametrize("by_module", [False, True])
def test_gradients_of_domains_are_kept_apart(by_module):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)).double()
    gradients = SeparateGradients(model, by_module=by_module)
    rows = torch.tensor([[1.0, 2.0], [-3.0, 1.0], [0.5, -1.0]], dtype=torch.float64)
    expected: dict[int, list[torch.Tensor]] = {}
    for domain, row in ((0, 0), (2, 1), (0, 2)):  # domain 1 has no rollout
        with gradients.gathering(domain):
            model[:2](rows[row]).sum().backward()
        own = torch.autograd.grad(model[:2](rows[row]).sum(), list(model[:2].parameters()))
        expected[domain] = [a + b for a, b in zip(expected.get(domain, [0] * len(own)), own, strict=True)]
    gram = gradients.reduce(3, as_it_is)
    assert gram.shape == (3 if by_module else 1, 3, 3) and gradients.groups == len(gram)
    parts = [slice(0, 2), slice(2, 4)] if by_module else [slice(0, 4)]
    for group, part in enumerate(parts):
        flat = {domain: torch.cat([g.flatten() for g in found[part]]) for domain, found in expected.items()}
        assert gram[group, 0, 2].item() == pytest.approx((flat[0] @ flat[2]).item(), rel=1e-12)
        assert gram[group, 0, 0].item() == pytest.approx((flat[0] @ flat[0]).item(), rel=1e-12)
        assert not gram[group, 1].any()
    gradients.combine(torch.tensor([2.0, 7.0, -1.0]).repeat(gradients.groups, 1))
    for place, parameter in enumerate(model[:2].parameters()):
        torch.testing.assert_close(parameter.grad, 2 * expected[0][place] - expected[2][place])
    # What no domain reaches has no gradient at all, as in plain training: an optimizer passes over it.
    assert all(parameter.grad is None for parameter in model[2].parameters())


# -- a training step ---------------------------------------------------------------------------------------------------


def opposed_reward(completion_ids: list[list[int]], domain: list[str], **kwargs: Any) -> list[float]:
    """What is right in code is wrong elsewhere: gradients in conflict."""
    wanted = [int(name != "code") for name in domain]
    return [float(ids[0] % 2 == bit) for ids, bit in zip(completion_ids, wanted, strict=True)]


def one_prompt(rows: int, *domains: str) -> Dataset:
    """Every domain asks the same, so that only what is right sets them apart."""
    message = [{"role": "user", "content": "a"}]
    return make_dataset(rows, domains).map(lambda row: {"prompt": message})


class Compared(TrainerCallback):
    """At each optimizer step: the gradient that is there, and one by autograd for each domain and naive PCGrad."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.errors: list[float] = []
        self._batches: list[dict[str, Any]] = []
        original = trainer._compute_loss

        def recorded(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            self._batches.append(dict(inputs))
            return original(model, inputs)

        trainer._compute_loss = recorded
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer, step = self.trainer, state.global_step
        named = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
        found = {name: parameter.grad for name, parameter in named.items()}
        count = len(trainer.domains.names)
        separate = [self._gradient_of(domain, named) for domain in range(count)]
        orders = random_orders(count, seed=args.seed, step=step)
        modules = [*dict.fromkeys(name.rpartition(".")[0] for name in named)]
        groups = modules if args.surgery_scope == "module" else [""]
        squares = torch.zeros(2, dtype=torch.float64)
        for group in groups:
            names = [name for name in named if group in ("", name.rpartition(".")[0])]
            vectors = [torch.cat([g[name].flatten().double() for name in names]) for g in separate]
            there = torch.cat([found[name].flatten().double() for name in names])
            expected = naive_pcgrad(vectors, orders)
            squares += torch.stack([(there - expected).square().sum(), expected.square().sum()])
        self.errors.append((squares[0] / squares[1]).sqrt().item())
        self._batches.clear()
        for name, parameter in named.items():
            parameter.grad = found[name]

    def _gradient_of(self, domain: int, named: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
        """One forward pass over whole micro-batches, with what other domains give held constant."""
        trainer = self.trainer
        plain = GRPOTrainer._get_per_token_logps_and_entropies
        for parameter in named.values():
            parameter.grad = None
        for inputs in self._batches:
            own = (inputs["surgery_domains"] == domain)[:, None]

            def held(*args: Any, own: torch.Tensor = own, **kwargs: Any) -> Any:
                log_probs, entropies, aux = plain(trainer, *args, **kwargs)
                return (
                    torch.where(own, log_probs, log_probs.detach()),
                    torch.where(own, entropies, entropies.detach()),
                    aux,
                )

            trainer._get_per_token_logps_and_entropies = held
            GRPOTrainer._compute_loss(trainer, trainer.model, inputs).backward()
            del trainer._get_per_token_logps_and_entropies
        return {name: parameter.grad for name, parameter in named.items()}


def train_compared(make_trainer: Any, model: Any = None, **overrides: Any) -> tuple[Any, list[float]]:
    settings = {
        "per_device_train_batch_size": 12,
        "max_steps": 1,
        "max_grad_norm": 0.0,
        "learning_rate": 1e-2,
    }
    settings |= overrides
    trainer = make_trainer(
        model if model is not None else make_model(torch.float64),
        rewards=opposed_reward,
        dataset=one_prompt(12, "math", "code", "logic"),
        trainer_class=PCGradTrainer,
        options=settings.pop("options", None),
        args=settings.pop("make")(PCGradConfig, **settings),
    )
    compared = Compared(trainer)
    trainer.train()
    assert len(compared.errors) == settings["max_steps"]
    return trainer, compared.errors


@pytest.mark.parametrize(
    "options",
    [
        *({"loss_type": name} for name in ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")),
        {"surgery_scope": "module"},
        {"importance_sampling_level": "sequence", "loss_type": "grpo"},
        {"entropy_coef": 0.05, "top_entropy_quantile": 0.5},
        {"num_iterations": 2, "max_steps": 2},
        {"steps_per_generation": 4, "max_steps": 2},
        {"mask_truncated_completions": True, "max_completion_length": 40},
        {"bf16": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_step_is_pcgrad_on_the_gradients_of_autograd(make_trainer, make_args, options):
    trainer, errors = train_compared(make_trainer, make=make_args, **options)
    # TRL's fused LM head itself works in float32; in bfloat16 the sums depend on which rows pass together.
    assert max(errors) < (0.05 if "bf16" in options else 1e-6)
    assert sum(history(trainer, "surgery/projected")) > 0  # there was something to project
    assert min(history(trainer, "surgery/norm/code")) > 0


def test_with_a_reference_model(make_trainer, make_args, tmp_path):
    make_model(torch.float64).save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float64)
    _, errors = train_compared(make_trainer, model, make=make_args, beta=0.1)
    assert max(errors) < 1e-6


@pytest.mark.parametrize("reentrant", [True, False])
def test_with_lora_and_gradient_checkpointing(make_trainer, make_args, reentrant):
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    trainer, errors = train_compared(
        make_trainer,
        make_model(),
        make=make_args,
        options={"peft_config": lora},
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": reentrant},
    )
    assert max(errors) < 1e-4
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert 0 < len(trained) < len(list(trainer.model.parameters()))


def test_with_one_domain_it_is_grpo_bit_for_bit(make_trainer, make_args):
    rows = make_dataset(domains=("math",))
    plain = make_trainer(trainer_class=GRPOTrainer, args=make_args(GRPOConfig, max_steps=2), dataset=rows)
    plain.train()
    ours = make_trainer(trainer_class=PCGradTrainer, args=make_args(PCGradConfig, max_steps=2), dataset=rows)
    ours.train()
    expected, found = parameters_of(plain), parameters_of(ours)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert history(plain, "loss") == history(ours, "loss")
    assert history(ours, "surgery/norm_ratio") == pytest.approx([1.0] * 2)
    assert not history(ours, "surgery/projected")


def test_without_conflict_it_is_grpo_with_one_it_is_not(make_trainer, make_args):
    # Both domains ask the same of the same prompts: nothing to project. Then they ask the opposite.
    rows = one_prompt(24, "code", "math")
    options = {"max_steps": 1, "per_device_train_batch_size": 24, "num_generations": 6, "max_completion_length": 1}
    options |= {"optim": "sgd", "learning_rate": 0.1}
    found = {}
    for name, cls, config, reward in (
        ("plain", GRPOTrainer, GRPOConfig, parity_reward),
        ("same", PCGradTrainer, PCGradConfig, parity_reward),
        ("opposed", PCGradTrainer, PCGradConfig, opposed_reward),
        ("plain opposed", GRPOTrainer, GRPOConfig, opposed_reward),
    ):
        trainer = make_trainer(rewards=reward, trainer_class=cls, args=make_args(config, **options), dataset=rows)
        trainer.train()
        found[name] = trainer
    cosine = history(found["same"], "surgery/cosine/code/math")
    assert cosine[0] > 0.5 and history(found["opposed"], "surgery/cosine/code/math") == pytest.approx([-cosine[0]])
    assert history(found["same"], "surgery/projected") == [0.0]
    assert history(found["opposed"], "surgery/projected") == [1.0]
    assert history(found["same"], "surgery/norm_ratio") == pytest.approx([1.0])
    assert history(found["opposed"], "surgery/norm_ratio")[0] != pytest.approx(1.0, abs=0.05)
    for name, value in parameters_of(found["plain"]).items():
        torch.testing.assert_close(parameters_of(found["same"])[name], value, rtol=1e-5, atol=1e-6)
    assert history(found["same"], "grad_norm") == pytest.approx(history(found["plain"], "grad_norm"), rel=1e-5)
    assert history(found["opposed"], "grad_norm") != pytest.approx(
        history(found["plain opposed"], "grad_norm"), rel=0.05
    )


@pytest.mark.parametrize("layers", [None, ["down_proj"]])
def test_interference_is_measured_as_without_surgery(make_trainer, make_args, layers):
    logs = []
    for cls, config, options in (
        (MCPOTrainer, MCPOConfig, {"contrastive_coef": 0.0}),
        (PCGradTrainer, PCGradConfig, {}),
    ):
        args = make_args(config, max_steps=1, interference_steps=1, interference_layers=layers, **options)
        trainer = make_trainer(rewards=opposed_reward, trainer_class=cls, args=args)
        trainer.train()
        logs.append({key: value for key, value in trainer.state.log_history[0].items() if "interference/" in key})
    assert logs[1] == pytest.approx(logs[0], rel=1e-4) and len(logs[0]) > 8
    with pytest.raises(ConfigError, match="for one domain at a time"):
        args = make_args(PCGradConfig, gradient_checkpointing=True, interference_layers=["down_proj"])
        make_trainer(trainer_class=PCGradTrainer, args=args)


def test_resumed_is_uninterrupted(make_trainer, make_args):
    def train(steps: int, name: str, resume: bool = False) -> dict[str, torch.Tensor]:
        options = {"max_steps": steps, "save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant"}
        args = make_args(PCGradConfig, per_device_train_batch_size=12, **options)
        args.output_dir = f"{args.output_dir}-{name}"
        rows = one_prompt(12, "math", "code", "logic")
        trainer = make_trainer(rewards=opposed_reward, trainer_class=PCGradTrainer, args=args, dataset=rows)
        trainer.train(resume_from_checkpoint=resume)
        assert sum(history(trainer, "surgery/projected")) > 0
        return parameters_of(trainer)

    whole = train(2, "whole")
    train(1, "parts")
    parts = train(2, "parts", resume=True)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_evaluation_in_between_and_the_time_of_a_step(make_trainer, make_args):
    args = make_args(PCGradConfig, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4, max_steps=2)
    trainer = make_trainer(trainer_class=PCGradTrainer, args=args, options={"eval_dataset": make_dataset(1)})
    trainer.train()
    assert len(history(trainer, "eval_loss")) == 2
    assert all(seconds > 0 for seconds in history(trainer, "step_time"))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contrastive_coef": None}, "no place for the contrastive term"),
        ({"contrastive_coef": 0.1}, "MCPOTrainer"),
        ({"surgery_scope": "modul"}, "Did you mean `module`"),
        ({"optim": "lomo"}, "during the backward pass"),
        ({"optim": "galore_adamw_layerwise"}, "adamw_torch"),
    ],
)
def test_configurations_that_cannot_work(make_args, options, words):
    with pytest.raises(ConfigError, match=words):
        make_args(PCGradConfig, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": DistributedType.FSDP}, "FSDP.*Use DDP"),
        ({"backend": DistributedType.DEEPSPEED}, "DEEPSPEED.*Use DDP"),
        ({"tensor_parallel": 2}, "tensor parallelism"),
        ({"gpus": 2}, "accelerate launch"),
        ({"aux_loss": True}, "router_aux_loss_coef=0"),
        ({"images": True}, "text model"),
    ],
)
def test_engines_and_models_that_cannot_work(options, words):
    def trainer(
        backend: Any = DistributedType.NO,
        tensor_parallel: int = 1,
        gpus: int = 0,
        aux_loss: bool = False,
        images: bool = False,
    ) -> Any:
        return SimpleNamespace(
            accelerator=SimpleNamespace(distributed_type=backend),
            get_tp_size=lambda: tensor_parallel,
            args=SimpleNamespace(n_gpu=gpus),
            aux_loss_enabled=aux_loss,
            _is_vlm=images,
        )

    check_surgery(trainer())
    with pytest.raises(ConfigError, match=words):
        check_surgery(trainer(**options))


def test_a_configuration_of_another_class_is_refused(make_trainer, make_args):
    with pytest.raises(ConfigError, match="PCGradConfig"):
        make_trainer(trainer_class=PCGradTrainer, args=make_args())


def test_a_loss_that_passes_the_hook_by_is_refused(make_trainer, make_args, monkeypatch):
    trainer = make_trainer(trainer_class=PCGradTrainer, args=make_args(PCGradConfig))
    monkeypatch.setattr(GRPOTrainer, "_compute_loss", lambda self, model, inputs: torch.zeros((), requires_grad=True))
    with pytest.raises(RuntimeError, match="cannot be told apart"):
        trainer.train()
