"""What a real training step was given and what it did, gathered so that another process can check it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

Tensors = dict[str, torch.Tensor]


class Recording(TrainerCallback):
    """Watches a trainer: rollouts, weights, heads and whole gradients of every optimizer step, on the main process."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.rollouts: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self._watched_engine: Any = None
        self._watch_generation()
        self._watch_pools()
        trainer.add_callback(self)

    def result(self) -> dict[str, Any]:
        """Return everything, of all ranks; to be called on each of them."""
        trainer = self.trainer
        rows = gather_object([[step.pop("rows") for step in self.steps]])
        for number, step in enumerate(self.steps):
            step["rows"] = [of_rank[number] for of_rank in rows]
        head = trainer._pool_phase.objective.head.state_dict()
        return {
            "ranks": trainer.accelerator.num_processes,
            "rollouts": gather_object([self.rollouts]),
            "steps": self.steps,
            "heads": gather_object([digest(head)]),
            "source": trainer.feature_source_in_use,
            "engine": str(trainer.accelerator.distributed_type),
            "weights": self._whole(whole_weight),
            "log": trainer.state.log_history,
        }

    # -- what goes in --------------------------------------------------------------------------------------------------

    def _watch_generation(self) -> None:
        trainer = self.trainer
        generate, calculate = trainer._generate_and_score_completions, trainer._calculate_rewards
        prepare = trainer._prepare_inputs

        def calculate_and_keep(inputs: Any, prompts: Any, completions: Any, completion_ids: list[list[int]]) -> Any:
            rewards = calculate(inputs, prompts, completions, completion_ids)
            first = trainer.accelerator.process_index * len(prompts)
            kept = zip(inputs, completion_ids, rewards[first : first + len(prompts)].tolist(), strict=True)
            self.rollouts += [
                {
                    "prompt": row["prompt"][0]["content"],
                    "domain": row["domain"],
                    "completion": [*ids],
                    "rewards": reward,
                }
                for row, ids, reward in kept
            ]
            return rewards

        def generate_and_number(inputs: Any) -> Any:
            before = len(self.rollouts)
            batch = generate(inputs)
            # TRL shuffles and splits it along with the rest.
            batch["row_number"] = torch.arange(before, len(self.rollouts))
            for rollout, ids, mask in zip(
                self.rollouts[before:], batch["prompt_ids"], batch["prompt_mask"].bool(), strict=True
            ):
                rollout["prompt_ids"] = ids[mask].tolist()
            return batch

        def prepare_and_keep(generation_batch: Any) -> Any:
            inputs = prepare(generation_batch)
            self.steps[-1]["rows"].append(inputs["row_number"].tolist())
            return inputs

        trainer._generate_and_score_completions = generate_and_number
        trainer._calculate_rewards = calculate_and_keep
        trainer._prepare_inputs = prepare_and_keep

    def _watch_pools(self) -> None:
        phase = self.trainer._pool_phase
        run = phase.run

        def keep_head_and_run(*arguments: Any, **options: Any) -> Any:
            head = phase.objective.head.state_dict()
            self.steps[-1]["head"] = {name: value.detach().cpu().clone() for name, value in head.items()}
            return run(*arguments, **options)

        phase.run = keep_head_and_run

    # -- what comes out ------------------------------------------------------------------------------------------------

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the weights that the step starts from."""
        self.steps.append({"rows": [], "weights": self._whole(whole_weight)})
        accelerator = self.trainer.accelerator
        if accelerator.distributed_type == DistributedType.DEEPSPEED and self._watched_engine is None:
            # DeepSpeed updates within accelerate's backward call: `on_pre_optimizer_step` comes too late.
            engine = self._watched_engine = accelerator.deepspeed_engine_wrapped.engine
            update = engine.step

            def keep_gradients_and_update(*arguments: Any, **options: Any) -> Any:
                self.steps[-1]["gradients"] = self._whole(whole_gradient)
                return update(*arguments, **options)

            engine.step = keep_gradients_and_update

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the gradients that the optimizer is about to use."""
        if self._watched_engine is None:
            self.steps[-1]["gradients"] = self._whole(whole_gradient)

    def _whole(self, read: Callable[[torch.nn.Parameter], torch.Tensor | None]) -> Tensors:
        """Read one tensor per parameter on every process; keep it on the main one."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        found: Tensors = {}
        for name, parameter in model.named_parameters():
            value = read(parameter)
            if value is not None and self.trainer.accelerator.is_main_process:
                found[name] = value.detach().cpu().clone()
        return found


def whole_weight(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Return a parameter with the shards of all ranks."""
    if isinstance(parameter, DTensor):
        return parameter.full_tensor()
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter


def whole_gradient(parameter: torch.nn.Parameter) -> torch.Tensor | None:
    """Return a parameter's gradient with the shards of all ranks; None for one that is not trained."""
    if not parameter.requires_grad:
        return None
    if hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_grad

        return safe_get_full_grad(parameter)
    gradient = parameter.grad
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def digest(state: Tensors) -> str:
    """Return a name for the bytes of these tensors."""
    summed = hashlib.sha256()
    for name, value in sorted(state.items()):
        raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)  # numpy knows no bfloat16
        summed.update(name.encode() + raw.numpy().tobytes())
    return summed.hexdigest()
