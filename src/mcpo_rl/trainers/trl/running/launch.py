"""On how many ranks, on which engine and in which batches a run goes: kept in its checkpoints, compared on resuming.

A run may go on with another number of ranks as long as the batches stay what they were over all ranks together, and the
engine can read its optimizer's states cut for another number.
"""

from __future__ import annotations

from typing import Any

from accelerate.utils import DistributedType

from mcpo_rl.errors import CheckpointError

_WHOLE = "one process or DDP"
_BATCHES = {
    "rollouts_per_generation": "rollouts of a generation batch (per_device_train_batch_size x ranks x "
    "steps_per_generation)",
    "rollouts_per_step": "rollouts of an optimizer step (per_device_train_batch_size x ranks x "
    "gradient_accumulation_steps)",
    "num_generations": "num_generations",
    "num_iterations": "num_iterations",
}


def launch_facts(trainer: Any) -> dict[str, Any]:
    """Return what a checkpoint keeps of how `trainer` runs: plain data."""
    args, ranks = trainer.args, trainer.accelerator.num_processes
    micro_batch = args.per_device_train_batch_size * ranks
    facts = {
        "ranks": ranks,
        "engine": engine_of(trainer.accelerator),
        "rollouts_per_step": micro_batch * args.gradient_accumulation_steps,
    }
    if hasattr(args, "steps_per_generation"):  # not for trainers that generate nothing
        facts["rollouts_per_generation"] = micro_batch * args.steps_per_generation
        facts["num_generations"] = args.num_generations
        facts["num_iterations"] = args.num_iterations
    return facts


def engine_of(accelerator: Any) -> str:
    """Return the form in which the optimizer's states are kept, as a phrase for messages."""
    state = accelerator.state
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return f"DeepSpeed ZeRO-{state.deepspeed_plugin.zero_stage}"
    if accelerator.distributed_type == DistributedType.FSDP:
        kind = str(state.fsdp_plugin.state_dict_type).rpartition(".")[2]
        return f"FSDP{state.fsdp_plugin.fsdp_version} with {kind}"
    return _WHOLE


def check_launch(before: dict[str, Any] | None, trainer: Any, where: str) -> None:
    """Refuse to resume where the engine would fail, or where the batches would be other ones.

    Args:
        before: `launch_facts` of the run that wrote the checkpoint; None in checkpoints that have none.
        trainer: that would resume.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: with what differs and what to do.
    """
    if before is None:
        return
    now = launch_facts(trainer)
    restart = "start a new run with the checkpoint as the model"
    if before["engine"] != now["engine"] and not _only_weights(trainer):
        raise CheckpointError(
            f"{where} was written by {before['engine']}, this run is on {now['engine']}: the optimizer's states are "
            f"kept in another form. Resume on the same engine, or {restart}."
        )
    if before["ranks"] != now["ranks"] and now["engine"].startswith("DeepSpeed") and not _is_universal(trainer):
        raise CheckpointError(
            f"{where} was written on {before['ranks']} ranks by {before['engine']}, which cuts the optimizer's states "
            f"for as many; now there are {now['ranks']}. Resume on {before['ranks']} ranks, or convert it with "
            'DeepSpeed\'s ds_to_universal.py and set `"checkpoint": {"load_universal": true}` in the DeepSpeed '
            f"configuration, or {restart}."
        )
    changed = [
        f"{text} were {before[name]}, now {now[name]}"
        for name, text in _BATCHES.items()
        if name in before and name in now and before[name] != now[name]
    ]
    if changed:
        raise CheckpointError(
            f"{where} was written on {before['ranks']} ranks, now there are {now['ranks']}, and the batches would be "
            f"other ones: {'; '.join(changed)}. Set per_device_train_batch_size, gradient_accumulation_steps and "
            f"steps_per_generation so that the products are the same, or {restart}."
        )


def _only_weights(trainer: Any) -> bool:
    return bool(trainer.args.save_only_model)


def _is_universal(trainer: Any) -> bool:
    config = trainer.accelerator.state.deepspeed_plugin.deepspeed_config
    return bool(config.get("checkpoint", {}).get("load_universal", False))
