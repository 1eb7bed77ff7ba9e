"""`mixture` in a training run: what is drawn and logged, and that a resumed run is the uninterrupted one."""

from __future__ import annotations

import shutil

import pytest
import torch
from datasets import IterableDataset

from mcpo_rl.errors import CheckpointError, ConfigError, ProblemError
from mcpo_rl.trainers.trl import InterruptCallback, MCPOConfig
from mcpo_rl.trainers.trl.rollouts.scoring import ScoredRollouts, informative_rollouts
from mcpo_rl.trainers.trl.sampling.mixing import Mixing, batch_outcome

from .conftest import history, make_dataset, parameters_of, parity_reward
from .test_checkpoints import SendSignal

ADAPTIVE = {"curriculum": {"kind": "worst_domain", "step_size": 20.0, "smoothing": 0.0}}
"""Moves the shares far enough to see it after one batch."""


class Watched:
    """The parity reward; keeps the prompts of each call, and the step it came at."""

    __name__ = "parity_reward"

    def __init__(self):
        self.prompts, self.steps = [], []

    def __call__(self, prompts, completion_ids, trainer_state, **kwargs):
        self.steps.append(trainer_state.global_step)
        self.prompts.append([prompt[0]["content"] for prompt in prompts])
        return parity_reward(completion_ids)


def asked(trainer):
    names = ("math", "code", "logic")
    rows = [row for row in trainer.state.log_history if "mixture/math/asked_share" in row]
    return [tuple(row[f"mixture/{name}/asked_share"] for name in names) for row in rows]


def uneven():
    return make_dataset(30).select([row for row in range(30) if row % 3 == 0 or row < 14])


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_the_batches_hold_what_was_asked(make_trainer):
    watched = Watched()
    weights = {"math": 0.5, "code": 0.3, "logic": 0.2}
    trainer = make_trainer(
        rewards=watched, dataset=uneven(), mixture={"weights": weights}, per_device_train_batch_size=20, max_steps=4
    )
    trainer.train()
    domain_of = {row["prompt"][0]["content"]: row["domain"] for row in uneven()}
    for prompts in watched.prompts:
        groups = [prompts[first : first + 4] for first in range(0, 40, 4)]
        assert all(len(set(group)) == 1 for group in groups)
        found = [domain_of[group[0]] for group in groups]
        assert {name: found.count(name) for name in weights} == {"math": 5, "code": 3, "logic": 2}
    assert history(trainer, "mixture/math/share") == pytest.approx([0.5] * 4)
    assert history(trainer, "mixture/logic/asked_share") == pytest.approx([0.2] * 4)


def test_the_share_that_carries_signal_is_logged(make_trainer):
    def only_math_varies(prompts, completion_ids, domain, **kwargs):
        return [float(row % 2) if name == "math" else 1.0 for row, name in enumerate(domain)]

    trainer = make_trainer(rewards=only_math_varies, mixture="equal", max_steps=1)
    trainer.train()
    (row, _) = trainer.state.log_history
    assert [row[f"mixture/{name}/informative_share"] for name in ("math", "code", "logic")] == [1.0, 0.0, 0.0]
    assert [row[f"mixture/{name}/share"] for name in ("math", "code", "logic")] == pytest.approx([1 / 3] * 3)
    assert not any("resample" in key for key in row)


def test_without_signal_there_is_no_share_of_it(make_trainer):
    trainer = make_trainer(rewards=lambda prompts, **kwargs: [0.0] * len(prompts), mixture="equal", max_steps=1)
    trainer.train()
    assert not any("informative_share" in key for key in trainer.state.log_history[0])


def test_none_is_trls_own_shuffling(make_trainer):
    trainer = make_trainer(max_steps=1)
    trainer.train()
    assert not any(key.startswith("mixture/") for key in trainer.state.log_history[0])


def test_unused_columns_may_be_removed(make_trainer):
    dataset = make_dataset().add_column("difficulty", [float(row) for row in range(12)])
    watched = Watched()
    trainer = make_trainer(
        rewards=watched,
        dataset=dataset,
        mixture={"curriculum": "difficulty", "resample": 1},
        remove_unused_columns=True,
        max_steps=1,
    )
    trainer.train()
    assert set(watched.prompts[0]) <= {row["prompt"][0]["content"] for row in dataset}


def test_an_outcome_by_hand():
    nan = float("nan")
    rewards = torch.tensor([[1.0, 1.0], [0.0, 1.0], [nan, nan], [nan, 1.0], [0.0, 0.0]]).flatten()
    domains = torch.tensor([0, 0, 1, 1, 2]).repeat_interleave(2)
    informative = informative_rollouts(rewards[:, None], 2)
    assert informative[::2].tolist() == [False, True, False, False, False]
    draw = ScoredRollouts(
        domains=domains,
        prompts=domains,
        rewards=rewards,
        lengths=domains,
        truncated=informative,
        informative=informative,
    )
    found = batch_outcome([draw, draw], ["a", "b", "c", "d"], 2, 1.0).domains
    assert found.keys() == {"a", "b", "c"}
    assert (found["a"].groups, found["a"].informative, found["a"].accuracy, found["a"].variance) == (4, 2, 0.75, 0.125)
    assert (found["b"].groups, found["b"].accuracy) == (4, 1.0)  # where something could be judged
    assert (found["c"].informative, found["c"].accuracy) == (0, 0.0)
    blind = batch_outcome([draw.replaced(torch.tensor([6, 7]), draw, torch.tensor([4, 5]))], ["a", "b"], 2, 1.0)
    assert blind.domains["b"].accuracy is None


def test_rewards_that_differ_in_one_function_alone():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert informative_rollouts(rewards, 2).all() and not informative_rollouts(rewards.sum(dim=1)[:, None], 2).any()


# -- resume ------------------------------------------------------------------------------------------------------------

SAVING = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6, "contrastive_warmup_steps": 4}


@pytest.mark.parametrize(
    "options",
    [
        {"mixture": "equal", "rows": 9},  # the checkpoint is exactly at the end of the first epoch
        {"mixture": {**ADAPTIVE, "resample": 2}, "rows": 20},  # in the second epoch of some domain
        {"mixture": {**ADAPTIVE, "resample": 1}, "rows": 12, "steps_per_generation": 4, "save_steps": 2},
        {
            "mixture": {**ADAPTIVE, "resample": 1},
            "rows": 30,
            "dataloader_num_workers": 1,
            "per_device_train_batch_size": 12,
        },
        {"mixture": {**ADAPTIVE, "resample": 1}, "num_iterations": 2, "contrastive_coef": 0.0, "save_steps": 2},
    ],
)
def test_resumed_is_uninterrupted_problem_by_problem(make_trainer, tmp_path, options):
    options = {**SAVING, **options}
    dataset = make_dataset(options.pop("rows", 12))
    whole, rest = Watched(), Watched()
    straight = make_trainer(rewards=whole, dataset=dataset, output_dir=str(tmp_path / "straight"), **options)
    straight.train()
    middle = sorted((tmp_path / "straight").glob("checkpoint-*"))[0]
    step = int(middle.name.split("-")[1])
    shutil.copytree(middle, tmp_path / "resumed" / middle.name)
    torch.manual_seed(99)
    resumed = make_trainer(rewards=rest, dataset=dataset, output_dir=str(tmp_path / "resumed"), **options)
    resumed.train(resume_from_checkpoint=True)
    assert rest.prompts == whole.prompts[-len(rest.prompts) :]
    assert len(rest.prompts) < len(whole.prompts)
    assert asked(resumed) == asked(straight)  # the log of before is in the checkpoint: bit for bit from there on
    assert history(resumed, "loss") == history(straight, "loss")
    expected, found = parameters_of(straight), parameters_of(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert 0 < step < 6
    if "curriculum" in options["mixture"]:
        assert len(set(asked(straight))) > 1  # something was learned
    if "resample" in options["mixture"]:
        assert sum(history(straight, "mixture/resampled_groups")[:step]) > 0


def test_ctrl_c_then_resume(make_trainer, tmp_path):
    options = {**SAVING, "save_steps": 100, "steps_per_generation": 4, "mixture": {**ADAPTIVE, "resample": 1}}
    whole, first, rest = Watched(), Watched(), Watched()
    make_trainer(rewards=whole, output_dir=str(tmp_path / "straight"), **options).train()
    interrupt = InterruptCallback()
    cut = {"callbacks": [interrupt, SendSignal(2)]}
    make_trainer(rewards=first, output_dir=str(tmp_path / "cut"), options=cut, **options).train()
    assert interrupt.interrupted
    make_trainer(rewards=rest, output_dir=str(tmp_path / "cut"), **options).train(resume_from_checkpoint=True)
    assert first.prompts + rest.prompts == whole.prompts and rest.prompts


def test_a_run_that_ended_inside_a_generation_batch_goes_on_with_it(make_trainer):
    options = {"steps_per_generation": 4, "save_strategy": "steps", "save_steps": 3, "mixture": "equal"}
    whole, first, rest = Watched(), Watched(), Watched()
    make_trainer(rewards=whole, max_steps=6, **{**options, "save_strategy": "no"}).train()
    make_trainer(rewards=first, max_steps=3, **options).train()
    make_trainer(rewards=rest, max_steps=6, **options).train(resume_from_checkpoint=True)
    # Its rollouts were not saved: the second batch is rolled out again, for the step that is left of it.
    assert first.prompts == whole.prompts[:2] and rest.prompts == whole.prompts[1:]
    assert whole.steps == [0, 2, 4] and rest.steps == [3, 4]


def test_fewer_workers_keep_the_order(make_trainer, tmp_path):
    options = {**SAVING, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 12, "mixture": ADAPTIVE}
    whole, rest = Watched(), Watched()
    make_trainer(rewards=whole, dataloader_num_workers=1, **options).train()
    shutil.rmtree(tmp_path / "out" / "checkpoint-6")
    resumed = make_trainer(rewards=rest, **options)
    resumed.train(resume_from_checkpoint=True)
    assert rest.prompts == whole.prompts[-len(rest.prompts) :]
    with pytest.raises(CheckpointError, match=r"draws up to 7 .* ahead, then 3: set dataloader_num_workers"):
        make_trainer(dataloader_num_workers=3, **options).train(resume_from_checkpoint=True)


def other_prompts(dataset):
    return dataset.map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"][0]["content"] + "0"}]})


def test_checkpoints_of_another_order(make_trainer, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1, "contrastive_coef": 0.0}
    refused = [
        ({}, "written with `mixture` and is resumed without it.*Set `mixture` as it was"),
        ({"mixture": "proportional"}, r'`mixture\.weights` is "proportional", in the checkpoint'),
        ({"mixture": "equal", "seed": 8}, "`seed` is 8, in the checkpoint 7"),
        ({"mixture": {"resample": 2}}, r"`mixture: {resample: 0}`, now it is 2: other problems would come"),
        ({"mixture": "equal", "dataset": make_dataset(15)}, "logic had 4 rows and has 5, math had 4 rows and has 5"),
        (
            {"mixture": "equal", "dataset": other_prompts(make_dataset())},
            "other training data: as many rows of every domain, but other problems",
        ),
    ]
    make_trainer(**options, mixture="equal").train()
    for now, message in refused:
        with pytest.raises(CheckpointError, match=message):
            make_trainer(**{**options, "max_steps": 2}, **now).train(resume_from_checkpoint=True)
    make_trainer(**options, output_dir=str(tmp_path / "plain")).train()
    with pytest.raises(CheckpointError, match=r"without `mixture` and is resumed with it.*Leave `mixture` out"):
        make_trainer(**options, output_dir=str(tmp_path / "plain"), mixture="equal").train(resume_from_checkpoint=True)


def test_a_run_that_is_done_takes_no_further_step(make_trainer):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1, "contrastive_coef": 0.0, "mixture": "equal"}
    done = make_trainer(**options)
    done.train()
    watched = Watched()
    again = make_trainer(**options, rewards=watched)
    again.train(resume_from_checkpoint=True)
    assert (again.state.global_step, watched.prompts) == (1, [])
    expected = parameters_of(done)
    assert all(torch.equal(parameter, expected[name]) for name, parameter in parameters_of(again).items())


# -- what cannot work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ("equl", "Did you mean `equal`"),
        ({"resampel": 2}, r"unknown key `mixture\.resampel`\. Did you mean `resample`"),
        ({"resample": -1}, r"`mixture\.resample` is -1; expected a whole number >= 0"),
        ({"resample": True}, r"`mixture\.resample` is True"),
        ({"weights": {"math": 0.5}}, "sums to 0.5"),
        ({"curriculum": "worst_domian"}, "Did you mean `worst_domain`"),
        (["equal"], "expected a word such as 'equal', a mapping, or None"),
        ("{weights: equal}", "expected a word or a mapping"),
    ],
)
def test_configurations(make_args, mixture, message):
    with pytest.raises(ConfigError, match=message):
        make_args(mixture=mixture)


@pytest.mark.parametrize("option", ["shuffle_dataset", "dataloader_in_order"])
def test_options_that_order_otherwise(make_args, option):
    with pytest.raises(ConfigError, match=f"{option}=False.*`mixture`"):
        make_args(mixture="equal", **{option: False})


def test_a_mapping_as_text(make_args):
    args: MCPOConfig = make_args(mixture='{"weights": "proportional", "resample": 2}')
    assert args.mixture_options().weights == "proportional" and args.resample_rounds == 2


def test_data_that_cannot_be_mixed(make_trainer):
    stream = IterableDataset.from_generator(lambda: iter(make_dataset()))
    with pytest.raises(ConfigError, match=r"`mixture` needs to know every row's domain .*data build"):
        make_trainer(dataset=stream, mixture="equal")
    with pytest.raises(ConfigError, match=r"'maths' a share of 0.5, but no row is of that domain.*Did you mean `math`"):
        make_trainer(mixture={"weights": {"maths": 0.5, "code": 0.5}})
    with pytest.raises(ProblemError, match="has 2 prompts, but one generation batch takes 3"):
        make_trainer(dataset=make_dataset(2), mixture="equal")


def test_a_curriculum_by_difficulty_needs_difficulties(make_args):
    args = make_args(mixture={"curriculum": "difficulty"})
    rows = make_dataset()
    with pytest.warns(UserWarning, match="the training data has no such column.*Did you mean `dificulty`"):
        Mixing(args, rows.add_column("dificulty", [1.0] * len(rows)))
    with pytest.warns(UserWarning, match="no row of the training data has a difficulty"):
        Mixing(args, rows.add_column("difficulty", [None] * len(rows)))
    with pytest.raises(ProblemError, match="column `difficulty` of the training data holds 'easy'"):
        Mixing(args, rows.add_column("difficulty", ["easy"] * len(rows)))
