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

Axes: B rollouts of a micro-batch, C tokens of the completion, K domains, M groups of parameters.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mcpo_rl.trainers.trl.features.hidden_states import unwrapped
from mcpo_rl.trainers.trl.rollouts.domain_column import DomainIndex, domains_of
from mcpo_rl.trainers.trl.surgery.config import PCGradConfig
from mcpo_rl.trainers.trl.surgery.gradients import DomainGradients
from mcpo_rl.trainers.trl.surgery.projection import Projection, combined_norm, project_conflicting, random_orders
from mcpo_rl.trainers.trl.surgery.requirements import check_surgery
from mcpo_rl.trainers.trl.surgery.split_pass import SplitPass
from mcpo_rl.trainers.trl.trainer import MCPOTrainer

_COLUMN = "surgery_domains"


class PCGradTrainer(MCPOTrainer):
    """Train on prompts of several domains with GRPO and PCGrad (Yu et al. 2020): conflicting gradients are projected.

    Takes what `MCPOTrainer` takes, with a `PCGradConfig` as `args`; any `loss_type`, KL term and entropy bonus. With
    one domain, or as long as no two domains' gradients are in conflict, the step is GRPO's. It needs as many gradients
    in memory as there are domains. It works on one device and under DDP; sharded engines are refused.

    Logged at every step, over the ranks and before clipping: `interference/norm/<A>`, `interference/share/<A>`,
    `interference/cosine/<A>/<B>`, `interference/conflict`, exact for all trained parameters; `surgery/projected`, the
    share of ordered pairs that were projected; `surgery/norm_ratio`, || step || / || sum_D g_D ||.

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
    domains: DomainIndex
    _current_train_step_time: float

    def __init__(self, *rest: Any, **options: Any) -> None:
        self._split_pass: SplitPass | None = None
        super().__init__(*rest, **options)
        check_surgery(self)
        model = unwrapped(self.accelerator, self.model)
        self._gradients = DomainGradients(model, by_module=self.args.surgery_scope == "module")

    def _set_up_interference(self) -> None:
        """Leave the measurement out: here the domains' gradients are there in full."""

    # -- which row is of which domain ----------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.model.training:
            numbers = self.domains.numbers(domains_of(self._rows, self.args))
            # TRL shuffles and splits it along with the batch.
            batch[_COLUMN] = torch.tensor(numbers, device=self.accelerator.device)
        return batch

    # -- one micro-batch -----------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            evaluated: Tensor = super()._compute_loss(model, inputs)
            return evaluated
        self._split_pass = SplitPass(inputs[_COLUMN])
        with self._split_pass.expecting_one_pass():
            loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        compute: Callable[..., Any] = super()._get_per_token_logps_and_entropies
        if self._split_pass is None or not self._split_pass.expected or not torch.is_grad_enabled():
            return compute(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        return self._split_pass.run(
            lambda rows: compute(model, input_ids[rows], attention_mask[rows], logits_to_keep, *args, **kwargs)
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Run TRL's training step with each domain's gradient kept apart; at the end of an optimizer step, project."""
        # The engine must not average what is not yet projected: the domains' gradients are, one by one, below.
        with self.accelerator.no_sync(model):
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            begun = time.perf_counter()
            assert self._split_pass is not None
            for domain, backward in self._split_pass.backward_passes():
                with self._gradients.gathering(domain):
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
        grams = self._gradients.reduce(count, self.accelerator.reduce)
        orders = random_orders(count, seed=self.args.seed, step=self.state.global_step)
        projections = [project_conflicting(gram, orders) for gram in grams]
        weights = torch.stack([projection.weights for projection in projections])
        self._gradients.combine(weights)
        scaler = getattr(self.accelerator, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 1.0
        self._log_metrics("train", self._surgery_metrics(grams / scale**2, projections, weights))

    def _surgery_metrics(self, grams: Tensor, projections: list[Projection], weights: Tensor) -> dict[str, float]:
        metrics = gram_metrics(grams.sum(dim=0), self.domains.names)
        count = len(self.domains.names)
        if count > 1:
            pairs = count * (count - 1) * len(projections)
            metrics["surgery/projected"] = sum(projection.projected for projection in projections) / pairs
        plain = combined_norm(grams, torch.ones_like(weights)).item()
        if plain > 0:
            metrics["surgery/norm_ratio"] = combined_norm(grams, weights).item() / plain
        return metrics

    def _count_time(self, seconds: float) -> None:
        """Add to TRL's `step_time`, which has ended before the domains' backward passes."""
        if self._current_train_step_time == 0.0 and self._metrics["train"]["step_time"]:
            self._metrics["train"]["step_time"][-1] += seconds
        else:
            self._current_train_step_time += seconds


def gram_metrics(gram: Tensor, names: list[str]) -> dict[str, float]:
    """Return `interference/...` from the inner products (K, K) of the domains' gradients.

    A domain whose gradient is 0 (none of its rollouts in the step, or all its advantages 0) has a norm and a share of
    0 and no cosine. `interference/conflict` is the share of pairs with a cosine below 0 among those that have one.
    """
    norms = {name: math.sqrt(max(gram[place, place].item(), 0.0)) for place, name in enumerate(names)}
    total = sum(norms.values())
    metrics = {f"interference/norm/{name}": norm for name, norm in norms.items()}
    if total > 0:
        metrics |= {f"interference/share/{name}": norm / total for name, norm in norms.items()}
    cosines = {}
    for first, second in itertools.combinations(sorted(names), 2):
        if norms[first] > 0 and norms[second] > 0:
            inner_product = gram[names.index(first), names.index(second)].item()
            cosines[f"interference/cosine/{first}/{second}"] = inner_product / (norms[first] * norms[second])
    if cosines:
        metrics["interference/conflict"] = sum(cosine < 0 for cosine in cosines.values()) / len(cosines)
    return metrics | cosines
