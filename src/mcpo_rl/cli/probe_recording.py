"""Recording a probe of models on disk: the base of a run, its checkpoints and its final model.

Imported inside the command only: it loads torch and TRL.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpo_rl.analysis.geometry import record_geometry
from mcpo_rl.errors import ConfigError, ModelError
from mcpo_rl.models import load_model_and_tokenizer, load_tokenizer
from mcpo_rl.models.lora import lora_config_file
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.probe import ProbeDirectory, ProbeState
from mcpo_rl.trainers.trl.features.probe import context_of, states_of_model, tokenize

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the hidden states are read."""

    layer: int = -1
    pooling: str = "mean"
    dtype: str = "float32"
    device: Any = None
    batch_size: int = 16


def models_of(run: RunDirectory, base: str) -> dict[int, str]:
    """Return the models of a run by the step that they are of: the base, the checkpoints, the final one.

    Args:
        run: Finished or not.
        base: The model that it started from.
    """
    models = {0: base}
    for path in run.checkpoints.glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match and path.is_dir():
            models[int(match[1])] = str(path)
    step = run.read_manifest().get("step")
    if isinstance(step, int) and (run.path / "model").is_dir():
        models.setdefault(step, str(run.path / "model"))
    return dict(sorted(models.items()))


def check_reading(directory: ProbeDirectory, reading: Reading) -> None:
    """Refuse to put states of one layer beside those of another.

    Raises:
        ConfigError: With what to do instead.
        RunError: A file of the probe is damaged.
    """
    for step in directory.steps()[:1]:
        state = directory.read_state(step)
        if (state.layer, state.pooling) != (reading.layer, reading.pooling):
            raise ConfigError(
                f"{directory.path} has states of layer {state.layer} with pooling `{state.pooling}`; layer "
                f"{reading.layer} with `{reading.pooling}` goes into a folder of its own: give --output DIR."
            )


def record_models(
    directory: ProbeDirectory,
    models: Mapping[int, str],
    reading: Reading,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, str]:
    """Record and measure the states of every model that has none yet.

    Args:
        directory: With its set.
        models: By step; that of step 0, or else the first, has the tokenizer for all.
        reading: How.
        progress: Called with the models done and in all.

    Returns:
        By step, why a model was left out: a checkpoint in parts of an engine's own form, one without weights.

    Raises:
        ModelError: The base model cannot be loaded.
        ProblemError: A rollout of the set does not fit into the model's context.
    """
    rollouts, known = directory.read_set(), set(directory.steps())
    wanted = {step: name for step, name in models.items() if step not in known}
    left_out: dict[int, str] = {}
    base = next(iter(models.values()))
    tokenizer = load_tokenizer(base) if wanted else None
    for number, (step, name) in enumerate(wanted.items()):
        try:
            lora = lora_config_file(name) is not None
            model, _ = load_model_and_tokenizer(
                name,
                dtype=reading.dtype,
                device=reading.device,
                base=base if lora and name != base else None,
                chat=False,  # the base model's tokenizer is taken for all
            )
        except ModelError as error:
            if name == base:
                raise
            left_out[step] = str(error)
            continue
        features = states_of_model(
            model,
            tokenize(rollouts, tokenizer, context_of(model)),
            layer=reading.layer,
            pooling=reading.pooling,
            batch_size=reading.batch_size,
        )
        directory.write_state(
            ProbeState(
                step=step,
                features=features,
                fingerprint=rollouts.fingerprint,
                layer=reading.layer,
                pooling=reading.pooling,
            )
        )
        del model
        gc.collect()  # a model's parts refer to each other: two would be in memory at once
        record_geometry(directory, step)
        if progress is not None:
            progress(number + 1, len(wanted))
    return left_out
