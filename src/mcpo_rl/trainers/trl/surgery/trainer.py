"""PCGrad on top of GRPO: the remedy for conflicting gradients of several tasks, as a baseline.

Every loss of TRL's is a function of the log-probabilities (and entropies) of the tokens, and each rollout has its own.
So the gradient of the whole loss splits into shares of the rollouts without a look into the loss:

    grad L = sum_i J_i^T dL/dl_i,        g_D = sum over the rollouts i of domain D of J_i^T dL/dl_i

with l_i the log-probabilities and entropies of rollout i and J_i their Jacobian. In each micro-batch the forward pass
runs once for each domain's rows; TRL computes its loss on the whole, cut off from the model; its backward pass gives
dL/dl; and one backward pass for each domain's rows, into gradients of their own, does the rest. Each rollout passes
through the model as often as in plain training, and sum_D g_D is the gradient of plain training.

At the end of an optimizer step the g_D are averaged over the ranks, projected (`projection.py`), and their combination
is put where the optimizer looks for a gradient, before clipping.

Axes: B rollouts of a micro-batch, R of them of one domain, C tokens of the completion, K domains, M groups of
parameters.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from mcpo_rl.trainers.trl.features.hidden_states import unwrapped
from mcpo_rl.trainers.trl.interference.measuring import GROUPS
from mcpo_rl.trainers.trl.rollouts.domain_column import DomainIndex, domains_of
from mcpo_rl.trainers.trl.surgery.config import PCGradConfig
from mcpo_rl.trainers.trl.surgery.gradients import SeparateGradients
from mcpo_rl.trainers.trl.surgery.projection import Projection, combined_norm, project_conflicting, random_orders
from mcpo_rl.trainers.trl.surgery.requirements import check_surgery
from mcpo_rl.trainers.trl.surgery.split_pass import SplitPass
from mcpo_rl.trainers.trl.trainer import MCPOTrainer

DOMAINS = "surgery_domains"
"""Where a batch carries the domain of each rollout: (B,) int64."""


class GradientSurgery(GRPOTrainer):  # type: ignore[misc]  # TRL publishes no types
    """TRL's trainer with the gradients of each domain kept apart; stands between it and what else is added to it.

    What stands in front puts `DOMAINS` into the batch, and calls `_set_up_surgery` at the end of construction.
    """

    args: Any
    domains: DomainIndex
    _split_pass: SplitPass | None = None

    def _set_up_surgery(self) -> None:
        check_surgery(self)
        model = unwrapped(self.accelerator, self.model)
        self._separate = SeparateGradients(model, by_module=self.args.surgery_scope == "module")

    # -- one micro-batch -----------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            evaluated: Tensor = super()._compute_loss(model, inputs)
            return evaluated
        self._split_pass = SplitPass(inputs[DOMAINS])
        with self._split_pass.expecting_one_pass():
            loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        compute: Callable[..., Any] = super()._get_per_token_logps_and_entropies
        if self._split_pass is None or not self._split_pass.expected or not torch.is_grad_enabled():
            return compute(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)

        def of_one_domain(rows: Tensor) -> Any:
            self._begin_part(model, rows)
            return compute(model, input_ids[rows], attention_mask[rows], logits_to_keep, *args, **kwargs)

        return self._split_pass.run(of_one_domain)

    def _begin_part(self, model: Any, rows: Tensor) -> None:
        """Called before the forward pass of one domain's rows (R,) of the micro-batch."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Run TRL's training step with each domain's gradient kept apart; at the end of an optimizer step, project."""
        # The engine must not average what is not yet projected: the domains' gradients are, one by one, below.
        with self.accelerator.no_sync(model):
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            begun = time.perf_counter()
            assert self._split_pass is not None
            for domain, backward in self._split_pass.backward_passes():
                with self._separate.gathering(domain):
                    backward()
            self._split_pass = None
        if self.accelerator.sync_gradients:
            self._project()
        self._count_time(time.perf_counter() - begun)
        return loss

    # -- one optimizer step --------------------------------------------------------------------------------------------

    def _project(self) -> None:
        """Put the projected gradient where the optimizer looks for it."""
        count = len(self.domains.names)
        grams = self._separate.reduce(count, self.accelerator.reduce)
        orders = random_orders(count, seed=self.args.seed, step=self.state.global_step)
        projections = [project_conflicting(gram, orders) for gram in grams]
        self._separate.combine(torch.stack([projection.weights for projection in projections]))
        scaler = getattr(self.accelerator, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 1.0
        for name, value in surgery_metrics(grams / scale**2, projections, self.domains.names).items():
            self._metrics["train"][name].append(value)

    def _count_time(self, seconds: float) -> None:
        """Add to TRL's `step_time`, which has ended before the domains' backward passes."""
        if self._current_train_step_time == 0.0 and self._metrics["train"]["step_time"]:
            self._metrics["train"]["step_time"][-1] += seconds
        else:
            self._current_train_step_time += seconds


class PCGradTrainer(MCPOTrainer, GradientSurgery):
    """Train on prompts of several domains with GRPO and PCGrad (Yu et al. 2020): conflicting gradients are projected.

    Takes what `MCPOTrainer` takes, with a `PCGradConfig` as `args`; any `loss_type`, KL term and entropy bonus. With
    one domain, or as long as no two domains' gradients are in conflict, the step is GRPO's. It needs as many gradients
    in memory as there are domains. It works on one device and under DDP; sharded engines are refused.

    Logged at every step, over all trained parameters and ranks, before clipping: `surgery/cosine/<A>/<B>`,
    `surgery/norm/<A>`, `surgery/projected` (the share of ordered pairs that were in conflict at their turn) and
    `surgery/norm_ratio` (|| step || / || sum_D g_D ||). `interference/...` is measured as with every other method.

    Args:
        *rest: as for `MCPOTrainer`, by position.
        **options: as for `MCPOTrainer`, by name.

    Raises:
        ConfigError: an option or engine that it cannot work with.
        MCPOError: as for `MCPOTrainer`.

    Example:
        >>> trainer = PCGradTrainer("Qwen/Qwen3-0.6B", verifier_reward, PCGradConfig("run"), rows)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    _tag_names = ["trl", "grpo", "pcgrad"]  # noqa: RUF012  # TRL's own attribute
    _name = "PCGrad"
    _paper = {"title": "Gradient Surgery for Multi-Task Learning", "id": "2001.06782"}  # noqa: RUF012

    configuration = PCGradConfig
    _measured: dict[str, Any] | None = None

    def __init__(self, *rest: Any, **options: Any) -> None:
        super().__init__(*rest, **options)
        self._set_up_surgery()

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.model.training:
            numbers = self.domains.numbers(domains_of(self._rows, self.args))
            # TRL shuffles and splits it along with the batch.
            batch[DOMAINS] = torch.tensor(numbers, device=self.accelerator.device)
        return batch

    # -- interference is read while the rows of one domain pass through the model --------------------------------------

    def _not_measurable(self) -> str:
        if self.args.interference_layers is not None and self.args.gradient_checkpointing:
            return "gradient surgery runs checkpointed layers again for one domain at a time."
        return super()._not_measurable()

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        self._measured = None
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _hook_points(self, model: Any, inputs: dict[str, Any]) -> None:
        self._measured = inputs

    def _begin_part(self, model: Any, rows: Tensor) -> None:
        if self._measured is not None:
            of_part = {name: self._measured[name] for name in (GROUPS, "completion_ids")}
            super()._hook_points(model, {name: value[rows.to(value.device)] for name, value in of_part.items()})


def surgery_metrics(grams: Tensor, projections: list[Projection], names: list[str]) -> dict[str, float]:
    """Return `surgery/...` of one optimizer step.

    Args:
        grams: (M, K, K), inner products of the domains' gradients in each group of parameters.
        projections: what came of each.
        names: (K,) of the domains.
    """
    gram, count = grams.sum(dim=0), len(names)
    norms = [math.sqrt(max(gram[place, place].item(), 0.0)) for place in range(count)]
    metrics = {f"surgery/norm/{name}": norm for name, norm in zip(names, norms, strict=True)}
    for a, b in itertools.combinations(sorted(range(count), key=names.__getitem__), 2):
        if norms[a] > 0 and norms[b] > 0:
            metrics[f"surgery/cosine/{names[a]}/{names[b]}"] = gram[a, b].item() / (norms[a] * norms[b])
    if count > 1:
        pairs = count * (count - 1) * len(projections)
        metrics["surgery/projected"] = sum(projection.projected for projection in projections) / pairs
    weights = torch.stack([projection.weights for projection in projections])
    plain = combined_norm(grams, torch.ones_like(weights)).item()
    if plain > 0:
        metrics["surgery/norm_ratio"] = combined_norm(grams, weights).item() / plain
    return metrics
