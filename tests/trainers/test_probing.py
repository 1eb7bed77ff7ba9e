"""A probe recorded while training: the right hidden states at the right steps, and a run that knows nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from mcpo_rl.analysis.geometry import load_probe, record_geometry
from mcpo_rl.errors import ConfigError, ProblemError, RunError
from mcpo_rl.runs.probe import ProbeDirectory, ProbeSet
from mcpo_rl.trainers.trl import ProbeCallback
from mcpo_rl.trainers.trl.features.probe import states_of_model, tokenize

from .conftest import history, make_dataset, make_model, make_tokenizer, parameters_of, parity_reward


def probe_set(count: int = 9, **changes: Any) -> ProbeSet:
    texts = ["a", "b+1", "c-22=", "dd33+4", "0", "h=h=h=h=h", "7?", "abc", "e e"]
    return ProbeSet(
        **{
            "prompts": [[{"role": "user", "content": f"{'g' * (row % 4 + 1)}{row}=?"}] for row in range(count)],
            "completions": [texts[row % 9] for row in range(count)],
            "domains": [("math", "code", "logic")[row % 3] for row in range(count)],
            "keys": [f"p{row}" for row in range(count)],
            "verdicts": ["correct" if row % 2 else "incorrect" for row in range(count)],
            "truncated": [row % 4 == 0 for row in range(count)],
            **changes,
        }
    )


def one_by_one(model: torch.nn.Module, rollouts: ProbeSet, layer: int, pooling: str) -> np.ndarray:
    """Each rollout alone, without any padding; hidden states as transformers gives them out."""
    tokenizer, rows = make_tokenizer(), []
    for place, completion in enumerate(rollouts.completions):
        prompt = tokenizer(rollouts.prompts[place][0]["content"])["input_ids"]
        answer = tokenizer(completion)["input_ids"]
        if not rollouts.truncated[place]:
            answer = [*answer, tokenizer.eos_token_id]
        with torch.no_grad():
            output = model(torch.tensor([prompt + answer]), output_hidden_states=True)
        hidden = output.hidden_states[layer if layer == -1 else layer + 1][0, len(prompt) :]
        rows.append((hidden.mean(dim=0) if pooling == "mean" else hidden[-1]).numpy())
    return np.stack(rows)


@pytest.fixture
def directory(tmp_path: Path) -> ProbeDirectory:
    made = ProbeDirectory(tmp_path / "probe")
    made.write_set(probe_set())
    return made


@pytest.mark.parametrize(("layer", "pooling"), [(-1, "mean"), (0, "mean"), (-1, "last")])
def test_states_are_those_of_each_rollout_alone(layer: int, pooling: str) -> None:
    model = make_model().eval()
    tokens = tokenize(probe_set(), make_tokenizer())
    states = states_of_model(model, tokens, layer=layer, pooling=pooling, batch_size=4)
    np.testing.assert_allclose(states, one_by_one(model, probe_set(), layer, pooling), rtol=1e-5, atol=1e-6)


def test_a_run_records_its_start_its_checkpoints_and_its_end(make_trainer: Any, directory: ProbeDirectory) -> None:
    start = make_model().eval()
    options = {"callbacks": [ProbeCallback(directory, record_geometry)]}
    trainer = make_trainer(options=options, max_steps=3, save_strategy="steps", save_steps=2, feature_layer=0)
    trainer.train()
    assert directory.steps() == [0, 2, 3]
    states = {step: directory.read_state(step) for step in directory.steps()}
    assert {state.layer for state in states.values()} == {0}
    rollouts = directory.read_set()
    np.testing.assert_allclose(states[0].features, one_by_one(start, rollouts, 0, "mean"), rtol=1e-5, atol=1e-6)
    end = trainer.model.eval()
    np.testing.assert_allclose(states[3].features, one_by_one(end, rollouts, 0, "mean"), rtol=1e-5, atol=1e-6)
    assert not np.allclose(states[2].features, states[3].features, atol=1e-5)

    logged = {row["step"]: row for row in trainer.state.log_history if "probe/drift" in row}
    assert list(logged) == [0, 2, 3]
    assert logged[0]["probe/drift"] == 0 and logged[0]["probe/cka"] == pytest.approx(1)
    assert logged[2]["probe/drift"] > 0 < logged[3]["probe/drift"]
    probe = load_probe(directory.path)
    assert probe is not None
    assert probe.series("drift")[1] == [logged[step]["probe/drift"] for step in (0, 2, 3)]
    # The averages of TRL's own metrics are in the lines of their steps, not in those of the probe.
    assert all(not any(key.startswith("domain/") for key in row) for row in logged.values())


def test_the_run_is_the_same_without_it(make_trainer: Any, directory: ProbeDirectory) -> None:
    ways = []
    for callbacks in ([], [ProbeCallback(directory, record_geometry)]):
        model = make_model(attention_dropout=0.1)
        options = {"callbacks": callbacks}
        trainer = make_trainer(model, options=options, save_strategy="steps", save_steps=1, max_steps=2)
        trainer.train()
        losses = history(trainer, "loss")
        ways.append((parameters_of(trainer), losses, history(trainer, "contrastive/share_loss")))
    (plain, *logs), (probed, *same) = ways
    assert logs == same and len(logs[0]) == 2
    assert all(torch.equal(plain[name], probed[name]) for name in plain)


def test_a_resumed_run_records_its_later_steps_anew(make_trainer: Any, directory: ProbeDirectory) -> None:
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    first = make_trainer(options={"callbacks": [ProbeCallback(directory)]}, **settings)
    first.train()
    last = directory.read_state(2)
    whole = last.features
    directory.write_state(type(last)(step=9, features=whole, fingerprint=last.fingerprint))
    again = make_trainer(options={"callbacks": [ProbeCallback(directory)]}, **settings)
    again.train(resume_from_checkpoint=f"{first.args.output_dir}/checkpoint-1")
    assert directory.steps() == [0, 1, 2]
    np.testing.assert_array_equal(directory.read_state(2).features, whole)


def test_a_callback_that_is_added_later_is_bound_too(make_trainer: Any, directory: ProbeDirectory) -> None:
    trainer = make_trainer(max_steps=1)
    trainer.add_callback(ProbeCallback(directory))
    trainer.train()
    assert directory.steps() == [0, 1]


def test_refusals(make_trainer: Any, make_args: Any, tmp_path: Path, directory: ProbeDirectory) -> None:
    with pytest.raises(RunError, match="holds no probe set"):
        make_trainer(options={"callbacks": [ProbeCallback(tmp_path / "none")]}).train()
    with pytest.raises(ProblemError, match="leaves no room"):
        tokenize(probe_set(), make_tokenizer(), limit=4)
    assert max(len(row) for row in tokenize(probe_set(), make_tokenizer(), limit=8).rows) == 8
    kept = {name: getattr(make_args(cls=GRPOConfig), name) for name in ("output_dir", "num_generations", "max_steps")}
    args = GRPOConfig(**kept, use_cpu=True, bf16=False, per_device_train_batch_size=4, max_completion_length=4)
    plain = GRPOTrainer(
        make_model(),
        parity_reward,
        args,
        make_dataset(),
        processing_class=make_tokenizer(),
        callbacks=[ProbeCallback(directory)],
    )
    with pytest.raises(ConfigError, match="one of mcpo_rl's trainers"):
        plain.train()
