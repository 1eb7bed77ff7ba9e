"""The part of a trainer that measures, every few optimizer steps, how the domains' gradients lie to each other.

Nothing is computed twice: the ordinary forward pass gives x_t, the ordinary backward pass d_t, and what is added is one
matrix product per micro-batch. Weights, losses and gradients are what they are without it.

Axes: B rollouts of a micro-batch, T tokens, C tokens of the completion, N rollouts of all ranks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.trainers.trl.features.hidden_states import hidden_of, unwrapped
from mcpo_rl.trainers.trl.interference.gradients import DomainGradients, halves_by_prompt, interference_metrics
from mcpo_rl.trainers.trl.interference.points import Point, check_input, find_points, modules_of

logger = logging.getLogger(__name__)

GROUPS = "interference_groups"
"""Where a batch carries the group (half of a domain) of each rollout: (B,) int64 on the CPU, as it is read there."""


class MeasuresInterference:
    """Stands in front of one of TRL's trainers that roll out, behind the contrastive term's own part.

    So the hooks set here see the hidden states as the policy loss alone sees them: the contrastive gradient is attached
    before.
    """

    # Of TRL's trainer, and of those before.
    args: Any
    accelerator: Any
    model: Any
    state: Any
    domains: Any
    _scored: Any
    _log_metrics: Callable[[str, dict[str, float]], None]

    _gradient_points: Sequence[Point] = ()
    _domain_gradients: DomainGradients | None = None
    _point_hooks: Sequence[RemovableHandle] = ()

    def _set_up_interference(self) -> None:
        """Find where to measure; called at the end of construction.

        Raises:
            ConfigError: `interference_layers` names a layer that is not there, or cannot be measured with this engine.
        """
        if self.args.interference_steps == 0:
            return
        model = unwrapped(self.accelerator, self.model)
        problem = self._not_measurable()
        try:
            points = [] if problem else find_points(model, self.args.interference_layers)
        except ModelError as error:
            points, problem = [], str(error)
        if problem and self.args.interference_layers is not None:
            raise ConfigError(f"interference_layers cannot be measured: {problem} Leave it out.")
        if problem:
            logger.info("Interference is not measured (interference_steps=0 says so): %s", problem)
        self._gradient_points = points

    def _not_measurable(self) -> str:
        if self.args.torch_compile:
            return "a compiled model skips the forward hooks that it is read by (torch_compile=True)."
        if getattr(self.args.parallelism_config, "tp_enabled", False):
            return "with tensor parallelism no rank holds a rollout of its own."
        return ""

    # -- which rollout is of which domain ------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self._gradient_points and self.model.training and self._scored is not None:
            groups = halves_by_prompt(self._scored.domains.tolist(), self._scored.prompts.tolist())
            count = len(batch["completion_ids"])
            first = self.accelerator.process_index * count
            batch[GROUPS] = torch.tensor(groups[first : first + count])  # TRL shuffles and splits it with the rest
        return batch

    # -- a micro-batch -------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if GROUPS in inputs and torch.is_grad_enabled() and self._interference_is_due():
            self._hook_points(model, inputs)
        loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
        return loss

    def _interference_is_due(self) -> bool:
        return bool(self._gradient_points) and self.state.global_step % self.args.interference_steps == 0

    def _hook_points(self, model: Any, inputs: dict[str, Any]) -> None:
        """Read x_t and d_t of this micro-batch: until `_release_points`, as checkpointing runs layers a second time."""
        self._release_points()
        if self._domain_gradients is None:
            double = self.model.dtype == torch.float64
            self._domain_gradients = DomainGradients(
                self._gradient_points,
                len(self.domains.names),
                self.args.interference_sketch_dim,
                self.accelerator.device,
                torch.float64 if double else torch.float32,
            )
        groups, factor = inputs[GROUPS].tolist(), self._gradient_factor()
        self._domain_gradients.count(groups)
        # The tokens of the completion are scored by the hidden states of the tokens before each.
        tail = inputs["completion_ids"].shape[1] + 1
        modules = modules_of(unwrapped(self.accelerator, model), self._gradient_points)
        self._point_hooks = [
            module.register_forward_hook(_reader(self._domain_gradients, number, point, groups, factor, tail))
            for number, (point, module) in enumerate(zip(self._gradient_points, modules, strict=True))
        ]

    def _measure_term(self, features: Tensor, gradients: Tensor) -> None:
        """Take note of the contrastive gradient on the features (B, d) of a micro-batch whose passes are measured.

        Only where both are taken at the last hidden states: elsewhere it is not told apart from the policy's.
        """
        if self._domain_gradients is not None and self._gradient_points[0].last and self.args.feature_layer == -1:
            self._domain_gradients.add_term(features, gradients)

    def _gradient_factor(self) -> float:
        """Return the factor from the units of a backward pass to those that reach the parameters."""
        scaler = getattr(self.accelerator, "scaler", None)
        loss_scale = scaler.get_scale() if scaler is not None else 1.0
        return float(1 / (loss_scale * self.accelerator.num_processes))

    def _release_points(self) -> None:
        for hook in self._point_hooks:
            hook.remove()
        self._point_hooks = ()

    # -- an optimizer step ---------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the training step; at the end of an optimizer step that was measured, log what was found."""
        try:
            loss: Tensor = super().training_step(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            self._domain_gradients = None
            raise
        finally:
            self._release_points()
        if self._domain_gradients is not None and self.accelerator.sync_gradients:
            gradients, self._domain_gradients = self._domain_gradients, None
            self._log_metrics("train", self._read(gradients))
        return loss

    def _read(self, gradients: DomainGradients) -> dict[str, float]:
        if self.accelerator.num_processes > 1:
            gradients.sums = [self.accelerator.reduce(sums, reduction="sum") for sums in gradients.sums]
            gradients.rollouts = self.accelerator.reduce(gradients.rollouts, reduction="sum")
        metrics = interference_metrics(gradients.products(), gradients.rollouts.tolist(), self.domains.names)
        if (
            self.accelerator.distributed_type == DistributedType.DEEPSPEED
            and self.accelerator.mixed_precision == "fp16"
        ):
            # DeepSpeed hides its loss scale: lengths have no unit, directions and shares need none.
            return {name: value for name, value in metrics.items() if not name.startswith("interference/norm/")}
        return metrics


def _reader(
    gradients: DomainGradients, number: int, point: Point, groups: list[int], factor: float, tail: int
) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    """Return a forward hook that adds what the module's backward pass says of `point` to `gradients`."""

    def read(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        outputs = hidden_of(output)
        if not torch.is_grad_enabled() or not outputs.requires_grad:
            return  # the first pass of a checkpointed layer, or nothing is trained below
        inputs = outputs if point.last else arguments[0]
        check_input(point, inputs.shape, len(groups))
        tokens = slice(-tail, None) if point.last else slice(None)
        with torch.no_grad():
            kept = gradients.sketched_input(number, inputs[:, tokens])

        def add(gradient: Tensor) -> None:
            with torch.no_grad():
                gradients.add(number, groups, kept, gradient[:, tokens], factor)

        outputs.register_hook(add)  # type: ignore[no-untyped-call]

    return read
