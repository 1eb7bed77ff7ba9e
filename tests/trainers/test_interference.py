"""The domains' gradients: against autograd, domain by domain; planted interference and planted transfer must show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOTrainer

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl.interference.gradients import halves_by_prompt, interference_metrics
from mcpo_rl.trainers.trl.interference.sketch import Sketch

from .conftest import history, make_model, make_tokenizer, parameters_of

# -- the sketch --------------------------------------------------------------------------------------------------------


def test_vectors_that_fit_stay_as_they_are():
    vectors = torch.randn(3, 16)
    assert Sketch(16, 16, seed=0)(vectors) is vectors
    assert Sketch(16, 1024, seed=0).dim == 16


@pytest.mark.parametrize(("width", "dim"), [(12, 4), (13, 4), (100, 7)])
def test_every_entry_lies_in_one_bucket_with_a_sign(width, dim):
    matrix = Sketch(width, dim, seed=3)(torch.eye(width, dtype=torch.float64)).T  # S (r, w)
    assert matrix.shape == (dim, width)
    assert torch.equal(matrix.abs().sum(dim=0), torch.ones(width, dtype=torch.float64))
    buckets = matrix.abs().sum(dim=1)
    assert buckets.max() <= math.ceil(width / dim)
    assert 0 < (matrix == 1).sum() < width


def test_inner_products_are_unbiased_with_the_variance_that_is_said():
    width, dim, draws = 40, 8, 1500
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, width, generator=generator, dtype=torch.float64)
    found = torch.stack([(lambda s: s(x) @ s(y))(Sketch(width, dim, seed=seed)) for seed in range(draws)])
    bound = ((x @ x) * (y @ y) + (x @ y) ** 2) / dim
    assert found.var() <= 1.1 * bound
    assert abs(found.mean() - x @ y) < 4 * (found.var() / draws).sqrt()


def test_matrices_from_both_sides():
    generator = torch.Generator().manual_seed(2)
    d, x = (torch.randn(5, width, generator=generator, dtype=torch.float64) for width in (20, 30))
    left, right = Sketch(20, 6, seed=0), Sketch(30, 7, seed=1)
    whole = d.T @ x
    both_sides = left(right(whole).T).T
    assert torch.allclose(left(d).T @ right(x), both_sides)  # sum over the tokens, the matrix never made


# -- the metrics by hand -----------------------------------------------------------------------------------------------


def test_metrics_by_hand():
    # Groups' gradients in the plane: a = (3, 0) + (1, 0), b = (0, 2) + (-2, 0), c = 0; the contrastive term's last.
    gradients = torch.tensor([[3.0, 0], [1, 0], [0, 2], [-2, 0], [0, 0], [0, 0], [3, 4]], dtype=torch.float64)
    found = interference_metrics(gradients @ gradients.T, [3, 1, 2, 2, 4, 0], ["a", "b", "c"])
    norm_b = math.sqrt(8)
    assert found == pytest.approx(
        {
            "interference/norm/a": 4.0,
            "interference/norm/b": norm_b,
            "interference/norm/c": 0.0,
            "interference/share/a": 4 / (4 + norm_b),
            "interference/share/b": norm_b / (4 + norm_b),
            "interference/share/c": 0.0,
            "interference/cosine/a/b": -8 / (4 * norm_b),
            "interference/conflict": 1.0,
            "interference/reliability/a": 16 / 3 * 3 / 16,
            "interference/reliability/b": 0.0,
            "interference/term/a": 3 / 5,
            "interference/term/b": (8 - 6) / (5 * norm_b),
        }
    )


def test_without_a_term_nothing_is_said_of_it():
    gradients = torch.tensor([[3.0, 0], [1, 0], [0, 0]], dtype=torch.float64)
    assert not [key for key in interference_metrics(gradients @ gradients.T, [1, 1], ["a"]) if "/term/" in key]


def test_names_of_pairs_are_alphabetical():
    products = torch.eye(5, dtype=torch.float64)
    assert "interference/cosine/a/b" in interference_metrics(products, [1, 1, 1, 1], ["b", "a"])


def test_a_step_with_infinite_gradients_says_nothing():
    assert interference_metrics(torch.full((5, 5), math.inf, dtype=torch.float64), [1] * 4, ["a", "b"]) == {}


def test_reliability_is_the_share_of_the_squared_norm_that_is_no_luck():
    # Each prompt's gradient is mu plus noise; over many steps mean(n^2 r) is |mu|^2, with halves of any size.
    generator = torch.Generator().manual_seed(4)
    mu = torch.randn(30, generator=generator, dtype=torch.float64)
    for sizes in ((4, 4), (5, 3)):
        signal, whole = 0.0, 0.0
        for _ in range(800):
            halves = torch.stack(
                [
                    (mu + 3 * torch.randn(size, 30, generator=generator, dtype=torch.float64)).sum(dim=0) / 8
                    for size in sizes
                ]
            )
            groups = torch.cat([halves, torch.zeros(1, 30, dtype=torch.float64)])
            found = interference_metrics(groups @ groups.T, sizes, ["a"])
            signal += found["interference/reliability/a"] * found["interference/norm/a"] ** 2 / 800
            whole += found["interference/norm/a"] ** 2 / 800
        assert signal == pytest.approx((mu @ mu).item(), rel=0.1)
        assert whole == pytest.approx((mu @ mu).item() + 30 * 9 / 8, rel=0.05)


def test_halves_take_turns_by_prompt():
    assert halves_by_prompt([0, 0, 1, 0, 1, 0], [7, 7, 5, 9, 6, 3]) == [0, 0, 2, 1, 3, 0]


# -- against autograd --------------------------------------------------------------------------------------------------


class PerDomain(TrainerCallback):
    """At the first optimizer step: the gradient of each domain's part of TRL's loss on the whole batch, by autograd."""

    def __init__(self, trainer: Any, layers: list[str] | None) -> None:
        self.trainer, self.layers = trainer, layers
        self.found: list[torch.Tensor] = []
        self.term: torch.Tensor | None = None
        original = trainer._generate_and_score_completions

        def recorded(inputs: Any) -> Any:
            self.batch = dict(original(inputs))
            return dict(self.batch)

        trainer._generate_and_score_completions = recorded
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.found:
            return
        trainer = self.trainer
        trainer.model.gradient_checkpointing_disable()  # the reentrant kind knows no `autograd.grad`
        kept = trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation
        trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
        for number in range(len(trainer.domains.names)):
            self.found.append(self._gradient(number).flatten())
        if "contrastive_grads" in self.batch:
            self.term = self._gradient_of_the_term().flatten()
        trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation = kept

    def _gradient_of_the_term(self) -> torch.Tensor:
        """Of sum_i <h_i, g_i>, h_i means over the tokens of the hidden states behind a matrix that is the identity."""
        ids = torch.cat([self.batch["prompt_ids"], self.batch["completion_ids"]], dim=1)
        mask = torch.cat([self.batch["prompt_mask"], self.batch["completion_mask"]], dim=1)
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        matrix = torch.eye(32, dtype=model.dtype, requires_grad=True)
        hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state.detach() @ matrix.T
        tokens = self.batch["completion_mask"].to(hidden.dtype)[..., None]
        features = (hidden[:, -tokens.shape[1] :] * tokens).sum(dim=1) / tokens.sum(dim=1)
        return torch.autograd.grad((features * self.batch["contrastive_grads"]).sum(), matrix)[0]

    def _gradient(self, number: int) -> torch.Tensor:
        trainer = self.trainer
        of_domain = trainer._scored.domains == number
        batch = {key: value for key, value in self.batch.items() if not key.startswith(("contrastive_", "interf"))}
        batch["advantages"] = batch["advantages"] * of_domain.to(batch["advantages"].dtype)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if self.layers is None:
            backbone = (model.get_base_model() if hasattr(model, "peft_config") else model).model
            matrix = torch.eye(32, dtype=model.dtype, requires_grad=True)

            def insert(module: Any, arguments: Any, output: Any) -> Any:
                output.last_hidden_state = output.last_hidden_state @ matrix.T
                return output

            handle = backbone.register_forward_hook(insert)
            loss = GRPOTrainer._compute_loss(trainer, trainer.model, batch)
            handle.remove()
            return torch.autograd.grad(loss, matrix)[0]
        weights = []
        for name, module in model.named_modules():
            weight = getattr(getattr(module, "base_layer", module), "weight", None)
            if any(name.endswith("." + layer) for layer in self.layers) and weight is not None:
                weights.append(weight.requires_grad_(True))
        loss = GRPOTrainer._compute_loss(trainer, trainer.model, batch)
        return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])


def check_against_autograd(make_trainer: Any, *, layers: list[str] | None, tolerance: float, **overrides: Any) -> Any:
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 6,
        "max_steps": 1,
        "max_completion_length": 10,
        "max_grad_norm": 0.0,
        "interference_steps": 1,
        "interference_layers": layers,
        **overrides,
    }
    model = settings.pop("model", None) or make_model(torch.float64)
    trainer = make_trainer(model, **settings)
    reference = PerDomain(trainer, layers)
    trainer.train()
    names, found = trainer.domains.names, trainer.state.log_history[0]
    expected = torch.stack(reference.found).double()
    assert (expected.norm(dim=1) > 0).sum() >= 2
    for a, name in enumerate(names):
        assert found[f"interference/norm/{name}"] == pytest.approx(expected[a].norm().item(), rel=tolerance, abs=1e-9)
        for b, other in enumerate(names[:a]):
            if expected[a].norm() > 0 and expected[b].norm() > 0:
                cosine = torch.cosine_similarity(expected[a], expected[b], dim=0).item()
                assert found[f"interference/cosine/{other}/{name}"] == pytest.approx(cosine, abs=tolerance)
        if reference.term is not None and expected[a].norm() > 0:
            cosine = torch.cosine_similarity(reference.term, expected[a], dim=0).item()
            assert found[f"interference/term/{name}"] == pytest.approx(cosine, abs=tolerance)
    assert any("/term/" in key for key in found) == (reference.term is not None)
    return trainer


@pytest.mark.parametrize(("loss_type", "coef"), [("dapo", 0.5), ("grpo", 0.0)])
def test_the_last_hidden_states_see_the_policy_alone(make_trainer, loss_type, coef):
    # With the contrastive term too: its gradient enters below.
    trainer = check_against_autograd(
        make_trainer,
        layers=None,
        tolerance=1e-6,  # TRL's fused LM head works in float32
        loss_type=loss_type,
        contrastive_coef=coef,
        contrastive_warmup_steps=0,
        feature_source="forward" if coef else "auto",  # the batch then has the contrastive gradients
    )
    assert (max(history(trainer, "contrastive/grad_norm"), default=0) > 0) == (coef > 0)


@pytest.mark.parametrize("options", [{}, {"use_reentrant": False}, {"use_reentrant": True}])
def test_linear_layers(make_trainer, options):
    check_against_autograd(
        make_trainer,
        layers=["down_proj", "layers.0.self_attn.q_proj"],
        tolerance=1e-6,
        contrastive_coef=0.0,
        gradient_checkpointing=bool(options),
        gradient_checkpointing_kwargs=options,
    )


@pytest.mark.parametrize("layers", [None, ["q_proj", "mlp.up_proj"]])
def test_under_lora(make_trainer, layers):
    lora = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    check_against_autograd(
        make_trainer,
        layers=layers,
        tolerance=1e-4,
        model=make_model(),
        contrastive_coef=0.0,
        options={"peft_config": lora},
    )


def test_a_sketch_is_near(make_trainer):
    # 32 x 32 and 48 x 32 in 24 x 24; the sum over the layers of both keeps inner products on average.
    options = {"interference_steps": 1, "max_steps": 1, "per_device_train_batch_size": 12, "num_generations": 4}
    names = [f"layers.{layer}.mlp.down_proj" for layer in (0, 1)]
    rows = []
    for dim in (1024, 24):
        trainer = make_trainer(interference_layers=names, interference_sketch_dim=dim, **options)
        trainer.train()
        rows.append(trainer.state.log_history[0])
    norms = [key for key in rows[0] if key.startswith("interference/norm/") and rows[0][key] > 0]
    assert norms
    for key in norms:
        assert rows[1][key] == pytest.approx(rows[0][key], rel=0.3)
        assert rows[1][key] != rows[0][key]


# -- what was planted --------------------------------------------------------------------------------------------------


def twins(prompts: int) -> Dataset:
    """Return two domains with the very same prompts."""
    rows = [(f"{'abcdefgh'[number % 8]}{number}=?", domain) for number in range(prompts) for domain in ("one", "two")]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": text}] for text, _ in rows],
            "domain": [domain for _, domain in rows],
            "reference": [""] * len(rows),
        }
    )


def labelled(opposite: bool) -> Any:
    """Right where the first token's number is odd; in domain `two`, where it is even if the labels are opposite."""

    def reward(completion_ids: list[list[int]], domain: list[str], **columns: Any) -> list[float]:
        flip = {"one": 0, "two": int(opposite)}
        return [float((ids[0] + flip[name]) % 2) for ids, name in zip(completion_ids, domain, strict=True)]

    return reward


def same_for_twins(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Return the same completions for the same prompt in either domain."""
    tokenizer, seen = make_tokenizer(), {}
    rollouts: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": []}
    for prompt in prompts:
        text = prompt[0]["content"]
        seen[text] = seen.get(text, -1) + 1
        generator = torch.Generator().manual_seed(sum(map(ord, text)) * 10 + seen[text] % trainer.num_generations)
        rollouts["prompt_ids"].append(tokenizer(text)["input_ids"])
        rollouts["completion_ids"].append(torch.randint(3, 26, (4,), generator=generator).tolist())
    return {**rollouts, "logprobs": None}


@pytest.mark.parametrize(
    ("opposite", "cosine", "layers"), [(True, -1.0, None), (False, 1.0, None), (True, -1.0, ["o_proj", "down_proj"])]
)
def test_planted_in_the_same_rollouts(make_trainer, opposite, cosine, layers):
    trainer = make_trainer(
        rewards=labelled(opposite),
        dataset=twins(4),
        options={"rollout_func": same_for_twins},
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        contrastive_coef=0.0,
        interference_steps=1,
        interference_layers=layers,
        max_steps=1,
    )
    trainer.train()
    row = trainer.state.log_history[0]
    assert row["interference/cosine/one/two"] == pytest.approx(cosine, abs=1e-4)
    assert row["interference/norm/one"] == pytest.approx(row["interference/norm/two"], rel=1e-4)
    assert row["interference/share/one"] == pytest.approx(0.5, rel=1e-4)
    assert row["interference/conflict"] == float(opposite)


@pytest.mark.parametrize(("opposite", "coef"), [(True, None), (False, 0.0)])
def test_planted_in_sampled_rollouts(make_trainer, opposite, coef):
    # Each domain draws its own completions; 16 of them per prompt leave some luck.
    trainer = make_trainer(
        rewards=labelled(opposite),
        dataset=twins(8),
        per_device_train_batch_size=128,
        gradient_accumulation_steps=2,
        num_generations=16,
        max_completion_length=2,
        contrastive_coef=coef,
        interference_steps=1,
        learning_rate=1e-5,
        mixture="equal",
        max_steps=2,
    )
    trainer.train()
    cosines = history(trainer, "interference/cosine/one/two")
    assert len(cosines) == 2
    assert all((cosine < -0.5) if opposite else (cosine > 0.5) for cosine in cosines), cosines


# -- when, and at what price -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "rows"), [(0, []), (2, [0, 2])])
def test_measured_every_few_steps(make_trainer, every, rows):
    trainer = make_trainer(interference_steps=every, max_steps=3)
    trainer.train()
    measured = [any(key.startswith("interference/") for key in row) for row in trainer.state.log_history[:3]]
    assert measured == [number in rows for number in range(3)]


def test_it_changes_no_weight_and_leaves_no_hook(make_trainer):
    # For the last hidden states, test_plain_grpo.py compares with TRL's own trainer.
    runs = []
    for every in (0, 1):
        trainer = make_trainer(interference_steps=every, interference_layers=["down_proj"], max_steps=2)
        trainer.train()
        runs.append(parameters_of(trainer))
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert history(trainer, "interference/norm/math")
    assert not any(module._forward_hooks for module in trainer.model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interference_steps": -1}, "interference_steps is -1"),
        ({"interference_sketch_dim": 0}, "interference_sketch_dim is 0"),
        ({"interference_layers": "down_proj"}, "expected a list of names"),
        ({"interference_layers": ["down_prj"]}, "Did you mean `down_proj`?"),
        ({"interference_layers": ["lm_head"]}, "no linear layer below the LM head"),
        ({"interference_layers": ["down_proj"], "torch_compile": True, "contrastive_coef": 0.0}, "Leave it out"),
    ],
)
def test_refusals(make_trainer, options, message):
    with pytest.raises(ConfigError, match="(?s)" + message.replace("?", r"\?")):
        make_trainer(**options)
