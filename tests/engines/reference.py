"""The gradient of L_policy + w * L, once more: one process, one batch, plain autograd, and the loops of naive.py.

Nothing here comes from the trainer: the policy loss is written out from GRPO's definition, features are read from
`output_hidden_states`, and the head is four lines. In float64, so that what differs is the trainer's rounding.

Axes: N rollouts of the generation batch, S of them in the optimizer step, P and C tokens of prompt and completion.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import torch
from peft import get_peft_model
from torch.nn import functional as F

from mcpo_rl.objective import ContrastiveConfig
from objective.naive import Pool, differentiable_loss

from .models import NO_FLOAT64, WITHOUT_EMBEDDINGS, make_family
from .scenario import COEF, END, GENERATIONS, Scenario

Tensors = dict[str, torch.Tensor]


class Reference:
    """Recomputes a recorded training.

    Args:
        scenario: what was trained.
        recorded: from `Recording.result`.
    """

    def __init__(self, scenario: Scenario, recorded: dict[str, Any]) -> None:
        self.scenario, self.recorded = scenario, recorded
        self.rollouts = [rollout for of_rank in recorded["rollouts"] for rollout in of_rank]
        self.masked = bool(scenario.options.get("mask_truncated_completions"))
        rounded = scenario.bf16 or scenario.family in NO_FLOAT64
        self.dtype = torch.float32 if rounded else torch.float64
        self.batch = self._batch(self.rollouts)
        self.counts = self.batch["completion_mask"].any(dim=1)
        self.rewards = torch.tensor([_total(rollout["rewards"]) for rollout in self.rollouts], dtype=torch.float64)
        self.pool: Pool | None = None
        """The pool's sets, once a gradient was computed."""

    def gradients(self, number: int) -> tuple[Tensors, Tensors]:
        """Return the gradients of the policy loss and of w * L that optimizer step `number` should have."""
        return self._gradients(self.rows_of(number), number, self.scenario.micro_batches / self.scenario.accumulation)

    def gradients_of_all(self) -> tuple[Tensors, Tensors]:
        """Return the gradients of the two losses on the whole generation batch, at the weights that generated it."""
        return self._gradients([*range(len(self.rollouts))], 0, 1.0)

    def _gradients(self, rows: list[int], number: int, share: float) -> tuple[Tensors, Tensors]:
        step = self.recorded["steps"][number]
        model = self._model(step["weights"])
        parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        log_probs, features = self._forward(model)
        policy = self._policy_loss(log_probs, rows, share) + self._balance_loss(model, step)
        # The step sees its own rollouts alone; the factor makes up for those of the other steps.
        here = torch.zeros(len(features), 1, dtype=torch.bool)
        here[rows] = True
        seen = torch.where(here, features, features.detach())
        contrastive = share * COEF * self._contrastive_loss(seen, self._head(number))
        return _take_gradients(policy, parameters), _take_gradients(contrastive, parameters)

    def _head(self, number: int) -> Tensors:
        """Return the head that the step's gradients on h came from: of the last pool phase until then."""
        return next(step["head"] for step in reversed(self.recorded["steps"][: number + 1]) if "head" in step)

    def rows_of(self, number: int) -> list[int]:
        """Return the step's rollouts as numbers among the N."""
        each, step = len(self.rollouts) // self.recorded["ranks"], self.recorded["steps"][number]
        return [rank * each + row for rank, micro in enumerate(step["rows"]) for rows in micro for row in rows]

    # -- forward -------------------------------------------------------------------------------------------------------

    def _batch(self, rollouts: list[dict[str, Any]]) -> Tensors:
        """Pad prompts on the left and completions on the right; what was cut off counts for nothing where asked."""
        prompts, completions = ([rollout[key] for rollout in rollouts] for key in ("prompt_ids", "completion"))
        wide, long = max(map(len, prompts)), max(map(len, completions))
        kept = [0 if self.masked and ids[-1] != END else len(ids) for ids in completions]
        return {
            "prompt_ids": torch.tensor([[0] * (wide - len(ids)) + ids for ids in prompts]),
            "prompt_mask": torch.tensor([[0] * (wide - len(ids)) + [1] * len(ids) for ids in prompts]),
            "completion_ids": torch.tensor([ids + [0] * (long - len(ids)) for ids in completions]),
            "completion_mask": torch.tensor([[1] * count + [0] * (long - count) for count in kept]),
        }

    def _model(self, weights: Tensors) -> torch.nn.Module:
        model = make_family(self.scenario.family, tied=self.scenario.tied, initializer_range=self.scenario.scale)
        if self.scenario.lora:
            from .training import lora

            model = get_peft_model(model, lora())
        assert weights.keys() == {name for name, _ in model.named_parameters()}
        model.load_state_dict(weights, strict=False)  # not strict: tied weights have one name only
        if "experts" in str(model):
            model.set_experts_implementation("eager")  # the grouped kernel knows no float64
        return model.to(self.dtype).eval()

    def _run(self, model: torch.nn.Module, batch: Tensors, **options: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16) if self.scenario.bf16 else nullcontext():
            return model(
                input_ids=torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
                attention_mask=torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
                output_hidden_states=True,
                use_cache=False,
                **options,
            )

    def _forward(self, model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens' log-probabilities (N, C) and h (N, d)."""
        output, ids = self._run(model, self.batch), self.batch["completion_ids"]
        width = ids.shape[1]
        logits = output.logits[:, -width - 1 : -1].to(self.dtype)
        log_probs = logits.log_softmax(dim=-1).gather(2, ids[..., None])[..., 0]
        layer = self.scenario.options.get("feature_layer", -1)
        before = 0 if self.scenario.family in WITHOUT_EMBEDDINGS else 1
        hidden = output.hidden_states[-1 if layer == -1 else layer + before][:, -width:].to(self.dtype)
        rows = []
        for states, mask in zip(hidden, self.batch["completion_mask"].bool(), strict=True):
            counted = states[mask] if mask.any() else 0 * states[:1]
            rows.append(counted[-1] if self.scenario.options.get("feature_pooling") == "last" else counted.mean(dim=0))
        return log_probs, torch.stack(rows)

    # -- the policy's loss ---------------------------------------------------------------------------------------------

    def _advantages(self) -> torch.Tensor:
        """(r - mean) / (std + 1e-4) over the scored rollouts of each prompt; 0 for the others."""
        advantages = torch.zeros_like(self.rewards)
        for start in range(0, len(self.rewards), GENERATIONS):
            group = self.rewards[start : start + GENERATIONS]
            scored = group[~group.isnan()]
            if len(scored) > 1:
                advantages[start : start + GENERATIONS] = (group - scored.mean()) / (scored.std() + 1e-4)
        return advantages.nan_to_num(0.0)

    def _policy_loss(self, log_probs: torch.Tensor, rows: list[int], share: float) -> torch.Tensor:
        old = log_probs.detach()
        if self.scenario.learning_rate and self.scenario.source == "old_logps":  # the weights have moved since
            with torch.no_grad():
                old, _ = self._forward(self._model(self.recorded["steps"][0]["weights"]))
        ratio = (log_probs - old).exp()
        advantages = self._advantages()[:, None]
        loss = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        mask = self.batch["completion_mask"].to(loss.dtype)
        loss, here, kind = (loss * mask)[rows], mask[rows], self.scenario.options.get("loss_type", "dapo")
        if kind == "grpo":
            return (loss.sum(dim=1) / here.sum(dim=1).clamp(min=1)).mean()
        if kind == "dr_grpo":
            return loss.sum() / (len(rows) * self.scenario.arguments(1)["max_completion_length"])
        assert kind == "dapo"
        return share * loss.sum() / mask.sum().clamp(min=1)

    def _balance_loss(self, model: torch.nn.Module, step: dict[str, Any]) -> torch.Tensor | float:
        """The experts' load balance, which is defined on a micro-batch: its mean over them."""
        asked = self.scenario.options.get("router_aux_loss_coef")
        coef = getattr(model.config, "router_aux_loss_coef", 0.0) if asked is None else asked
        if coef == 0:
            return 0.0
        losses = []
        for of_rank, micro_batches in zip(self.recorded["rollouts"], step["rows"], strict=True):
            for rows in micro_batches:
                batch = self._batch([of_rank[row] for row in rows])
                losses.append(self._run(model, batch, output_router_logits=True).aux_loss)
        return coef * sum(losses) / len(losses)

    # -- the contrastive loss ------------------------------------------------------------------------------------------

    def _rows_of_the_pool(self) -> list[list[int]]:
        """Return the rollouts of every row: one, or where prompts are the anchors all correct ones of a prompt."""
        right = [i for i in range(len(self.rollouts)) if self.counts[i] and self.rewards[i] >= 1]
        if self.scenario.options.get("anchors") != "prompt":
            return [[i] for i in range(len(self.rollouts))]
        of_prompt: dict[str, list[int]] = {}
        for i in right:
            of_prompt.setdefault(self.rollouts[i]["prompt"], []).append(i)
        return [*of_prompt.values(), *([i] for i in range(len(self.rollouts)) if i not in right)]

    def _contrastive_loss(self, features: torch.Tensor, head: Tensors) -> torch.Tensor:
        rows = self._rows_of_the_pool()
        features = torch.stack([features[row].mean(dim=0) for row in rows])
        first = [row[0] for row in rows]
        weights = {name: value.to(self.dtype) for name, value in head.items()}
        inner = F.layer_norm(features, features.shape[1:]) @ weights["inner.weight"].T + weights["inner.bias"]
        outer = F.gelu(inner) @ weights["outer.weight"].T + weights["outer.bias"]
        z = outer / outer.norm(dim=1, keepdim=True)
        domains, prompts = ([self.rollouts[i][key] for i in first] for key in ("domain", "prompt"))
        pool = SimpleNamespace(
            features=features.detach(),
            domains=torch.tensor([sorted(set(domains)).index(name) for name in domains]),
            prompts=torch.tensor([sorted(set(prompts)).index(text) for text in prompts]),
            correct=self.rewards[first] >= 1,
            usable=(self.counts & ~self.rewards.isnan())[first],
        )
        own = {name.name for name in fields(ContrastiveConfig)} & self.scenario.options.keys()
        config = ContrastiveConfig(**{name: self.scenario.options[name] for name in own})
        self.pool = Pool(pool, z.detach(), config)
        return differentiable_loss(z, self.pool)


def relative_errors(found: Tensors, expected: Tensors) -> tuple[float, float]:
    """Return ||found - expected|| / ||expected||: over all parameters, and the largest of one parameter.

    A parameter whose gradient is less than a thousandth of the whole is measured against that thousandth.
    """
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    differences = {name: float((found[name].double() - expected[name].double()).norm()) for name in expected}
    norms = {name: float(value.double().norm()) for name, value in expected.items()}
    whole = math.hypot(*norms.values())
    worst = max(differences[name] / max(norms[name], 1e-3 * whole) for name in expected)
    return math.hypot(*differences.values()) / whole, worst


def norm(gradients: Tensors) -> float:
    return math.hypot(*(float(value.double().norm()) for value in gradients.values()))


def add(one: Tensors, other: Tensors) -> Tensors:
    return {name: one[name] + other[name] for name in one}


def _take_gradients(loss: torch.Tensor, parameters: Tensors) -> Tensors:
    found = torch.autograd.grad(loss, [*parameters.values()], retain_graph=True, allow_unused=True)
    pairs = zip(parameters.items(), found, strict=True)
    return {name: torch.zeros_like(value) if found is None else found for (name, value), found in pairs}


def _total(rewards: list[float]) -> float:
    return math.nan if all(map(math.isnan, rewards)) else math.fsum(r for r in rewards if not math.isnan(r))
