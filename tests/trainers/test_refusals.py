"""What cannot work is refused at construction: one clear line that says what, where and what to do."""

from __future__ import annotations

import pytest
from datasets import Dataset, IterableDataset
from trl import GRPOConfig

from mcpo_rl.errors import ConfigError, MCPOError, ModelError, ProblemError, UnknownDomainError
from mcpo_rl.trainers.trl import MCPOTrainer

from .conftest import history, make_dataset, make_model, make_tokenizer, parity_reward


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_generations": 1}, "num_generations is 1; expected a whole number >= 2"),
        ({"num_generations": 5}, "divisible by num_generations"),
        ({"contrastive_coef": -1.0}, "contrastive_coef is -1.0; expected a finite number >= 0"),
        ({"contrastive_grad_ratio": 0.0}, "contrastive_grad_ratio is 0.0; .* set contrastive_coef=0"),
        ({"contrastive_warmup_steps": -1}, "contrastive_warmup_steps is -1"),
        ({"contrastive_decay_steps": 0}, "contrastive_decay_steps is 0; .*None keeps the strength"),
        ({"anchors": "prompts"}, "^anchors is 'prompts'; .* Did you mean `prompt`"),
        ({"mutual_positives": "yes"}, "^mutual_positives is 'yes'; expected true or false"),
        ({"detach_positives": 1}, "^detach_positives is 1; expected true or false"),
        ({"contrastive_temperature": 0}, "^contrastive_temperature is 0; expected a finite number > 0"),
        ({"contrastive_block_size": 0}, "^contrastive_block_size is 0"),
        ({"num_positives": 0}, "^num_positives is 0"),
        ({"negatives": "al"}, "^negatives is 'al'; .* Did you mean `all`"),
        ({"head_dim": 0}, "head_dim is 0"),
        ({"head_learning_rate": float("nan")}, "head_learning_rate is nan"),
        ({"feature_layer": -2}, "feature_layer is -2"),
        ({"feature_pooling": "maen"}, "feature_pooling is 'maen'; .* Did you mean `mean`"),
        ({"feature_source": "vllm"}, "feature_source is 'vllm'"),
        ({"domain_column": ""}, "domain_column is ''"),
        ({"torch_compile": True}, "torch_compile=True cannot be combined"),
        ({"feature_source": "generation", "use_vllm": True}, "feature_source='generation' reads the decoding steps"),
    ],
)
def test_configurations(make_args, options, message):
    with pytest.raises(ConfigError, match=message):
        make_args(**options)


def test_plain_grpo_takes_what_the_term_refuses(make_args):
    assert make_args(contrastive_coef=0, torch_compile=True).torch_compile


def test_another_configuration_class(make_trainer, make_args):
    with pytest.raises(ConfigError, match="args is a GRPOConfig; expected an MCPOConfig"):
        make_trainer(args=make_args(GRPOConfig))


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (
            make_dataset().rename_column("domain", "domains"),
            ProblemError,
            "no column 'domain'; it has domains, prompt.*Did you",
        ),
        (
            make_dataset().rename_column("prompt", "question"),
            ProblemError,
            "no column 'prompt'; it has domain, question",
        ),
        (make_dataset().select([]), ProblemError, "empty"),
        (make_dataset().select(range(2)), ProblemError, "has 2 prompts, but one generation batch takes 3"),
        (make_dataset(domains=("math", None)), ProblemError, "row 1 of the training data: column 'domain' holds None"),
        (make_dataset(domains=("math", "  ")), ProblemError, "row 1 .* holds '  '"),
        (make_dataset(domains=("math", "mathh")), UnknownDomainError, "'mathh'; known are code, math. Did .* `math`"),
    ],
)
def test_data(make_trainer, dataset, error, message):
    with pytest.raises(error, match=message):
        make_trainer(dataset=dataset, known_domains=["math", "code"])


def test_one_domain_only_warns_and_is_plain_grpo(make_trainer):
    with pytest.warns(UserWarning, match="of one domain .*'math'.* plain GRPO. Add prompts of another domain"):
        trainer = make_trainer(dataset=make_dataset(domains=("math",)), contrastive_coef=1.0, max_steps=2)
    trainer.train()
    assert history(trainer, "contrastive/grad_norm") == [0.0, 0.0]


def test_chat_prompts_need_a_chat_template(make_args):
    with pytest.raises(ModelError, match="has no chat template"):
        MCPOTrainer(
            make_model(),
            parity_reward,
            make_args(),
            make_dataset(),
            processing_class=make_tokenizer(chat_template=None),
        )


def test_plain_text_prompts_need_none(make_args):
    rows = make_dataset().map(lambda row: {"prompt_text": row["prompt"][0]["content"]})
    rows = rows.remove_columns("prompt").rename_column("prompt_text", "prompt")
    tokenizer = make_tokenizer(chat_template=None)
    trainer = MCPOTrainer(make_model(), parity_reward, make_args(max_steps=1), rows, processing_class=tokenizer)
    trainer.train()
    assert history(trainer, "contrastive/anchors")


def test_generation_features_where_nothing_decodes(make_trainer):
    def rollout(prompts, trainer):
        return {}

    with pytest.raises(ConfigError, match="feature_source='generation' cannot work here"):
        make_trainer(feature_source="generation", options={"rollout_func": rollout})


def test_a_streaming_data_set_is_checked_row_by_row(make_trainer):
    rows = [dict(row) for row in make_dataset()]
    good = make_trainer(dataset=IterableDataset.from_generator(lambda: iter(rows)), max_steps=2, shuffle_dataset=False)
    good.train()
    assert sorted(good.domains.names) == ["code", "logic", "math"]
    assert max(history(good, "contrastive/anchors")) > 0
    rows[4]["domain"] = None
    bad = make_trainer(dataset=IterableDataset.from_generator(lambda: iter(rows)), max_steps=4, shuffle_dataset=False)
    with pytest.raises(ProblemError, match="of a training batch: column 'domain' holds None"):
        bad.train()


def test_unused_columns_may_be_removed(make_trainer):
    seen = []

    def reward(completion_ids, domain, reference, **kwargs):
        seen.append((domain, reference, sorted(kwargs)))
        return [float(ids[0] % 2) for ids in completion_ids]

    rows = make_dataset().add_column("spare", [0] * 12)
    make_trainer(rewards=reward, dataset=rows, remove_unused_columns=True, max_steps=1).train()
    (domain, reference, others) = seen[0]
    assert len(domain) == len(reference) == 12 and "spare" not in others


def test_every_refusal_is_of_the_family():
    assert all(issubclass(error, MCPOError) for error in (ConfigError, ModelError, ProblemError, UnknownDomainError))
    assert isinstance(make_dataset(), Dataset)
