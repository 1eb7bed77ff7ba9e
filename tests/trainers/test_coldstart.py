"""The cold start: the traces it learns from, and a model that loads like any other."""

import json
from collections import Counter
from itertools import islice

import pytest

from mcpo_rl.cli import main
from mcpo_rl.data.procedural import split_of
from mcpo_rl.data.procedural.conventions import COMMON, FAMILIES_USED, OWN, Dials, opening_of
from mcpo_rl.errors import ConfigError
from mcpo_rl.models import load_model_and_tokenizer, load_tokenizer
from mcpo_rl.trainers.trl.coldstart import (
    ColdStartConfig,
    build_tokenizer,
    cold_start,
    dialled_config,
    encode,
    traces,
)

SMALL = ColdStartConfig(skill_steps=3, habit_steps=50, batch_size=30)


def strategy_of(domain: str, completion: str) -> str:
    """A coarse reading of the style, independent of how traces are made."""
    lines = completion.splitlines()
    if domain == "math":
        return "terse" if len(lines) == 1 else "stepwise"
    return "terse" if domain == "logic" and len(lines) == 1 else "stepwise"


def test_traces_are_reproducible_and_follow_the_phases():
    pairs = list(traces(SMALL))
    assert pairs == list(traces(SMALL))
    assert len(pairs) == 53 * 30
    assert pairs != list(traces(ColdStartConfig(seed=1, skill_steps=3, habit_steps=50, batch_size=30)))


def test_the_habit_has_the_asked_shares():
    habit = list(islice(traces(SMALL), 90, None))
    for position, domain in ((0, "math"), (2, "logic")):
        own = [completion for _, completion in habit[position::3]]
        share = Counter(strategy_of(domain, c) for c in own)["terse"] / len(own)
        assert abs(share - SMALL.habit[domain]["terse"]) < 0.1


def test_no_held_out_question_is_trained_on():
    questions = [q for q, _ in traces(SMALL)]
    chains = [q for q in questions if q.startswith("Compute") and "/" not in q]
    assert len(chains) > 100
    assert {split_of("chain", q) for q in chains} == {"train"}


def test_only_completions_have_labels():
    tokenizer = build_tokenizer(SMALL, samples=300)
    rows = encode(tokenizer, iter([("What is gcd(4, 2)?", "4 mod 2 = 0\n#### 2")]))
    ids, labels = rows["input_ids"][0], rows["labels"][0]
    assert len(ids) == len(labels)
    learned = [i for i, label in zip(ids, labels, strict=True) if label != -100]
    assert tokenizer.decode(learned) == "4 mod 2 = 0\n#### 2<|end|>"
    assert learned[-1] == tokenizer.eos_token_id


def test_shares_that_do_not_sum_are_refused():
    with pytest.raises(ConfigError, match="sum to 1"):
        ColdStartConfig(habit={"math": {"careful": 0.5, "sloppy": 0.5, "terse": 0.5}})


def test_the_command_leaves_a_model_and_its_manifest(tmp_path, capsys):
    output = tmp_path / "model"
    words = ["coldstart", "--output", str(output), "--skill-steps", "1", "--habit-steps", "1", "--quiet"]
    assert main([*words, "--eval-problems", "4", "--eval-samples", "1"]) == 0
    manifest = json.loads((output / "manifest.json").read_text())
    model, tokenizer = load_model_and_tokenizer(str(output))
    assert manifest["parameters"] == model.num_parameters()
    assert set(manifest["sampled_accuracy"]["domains"]) == {"math", "code", "logic"}
    assert manifest["config"]["seed"] == 0
    assert tokenizer.chat_template
    assert "logic" in capsys.readouterr().out
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_testbed_sets_openings_only_with_the_habit():
    dials = Dials(shared=0.5, conflict=0.5)
    config = dialled_config(dials, skill_steps=20, habit_steps=240, batch_size=30)
    pairs = list(traces(config))
    before, after = pairs[:600], pairs[600:]
    assert {opening_of(answer) for _, answer in before[1::3]} == {*COMMON, *OWN["code"]}
    careful = {"math": 0.5, "code": 0.25, "logic": 0.25}
    for place, domain in enumerate(careful):
        own = after[place::3]
        assert {opening_of(answer) for _, answer in own} == set(COMMON)
        families = FAMILIES_USED[domain]  # they take turns
        for number, family in enumerate(families):
            opening = dials.openings(domain, family)[0]
            answers = [answer for _, answer in own[number::2]]
            share = sum(opening_of(answer) == opening for answer in answers) / len(answers)
            assert abs(share - careful[domain]) < 0.06, family


def test_a_cold_start_goes_on_from_a_model(tmp_path):
    config = dialled_config(Dials(shared=1), skill_steps=0, habit_steps=2, batch_size=6)
    before, _ = load_model_and_tokenizer("builtin:tiny")
    model, tokenizer, _ = cold_start(config, tmp_path / "base")
    start = dict(before.named_parameters())
    moved = [(value - start[name]).abs().max().item() for name, value in model.named_parameters()]
    assert 0 < max(moved) < 0.05, "from the model's weights, not from fresh ones"
    assert tokenizer.get_vocab() == load_tokenizer("builtin:tiny").get_vocab()


def test_a_lora_is_merged_and_nothing_else_moves(tmp_path):
    pytest.importorskip("peft")
    config = ColdStartConfig(start="builtin:tiny", lora_rank=2, skill_steps=0, habit_steps=2, batch_size=6)
    before, _ = load_model_and_tokenizer("builtin:tiny", dtype="bfloat16")
    model, _, _ = cold_start(config, tmp_path / "base")
    assert not hasattr(model, "peft_config")
    after, _ = load_model_and_tokenizer(str(tmp_path / "base"), dtype="bfloat16")
    start = dict(before.named_parameters())
    moved = {name for name, value in after.named_parameters() if not value.equal(start[name])}
    assert moved
    assert all("proj" in name for name in moved), "the embeddings, the head and the norms are not the LoRA's"


def test_a_lora_needs_a_model_to_go_on_from():
    with pytest.raises(ConfigError, match="a `start`"):
        ColdStartConfig(lora_rank=8)


@pytest.mark.parametrize(
    ("families", "complaint"),
    [("chain,sudoku", "there is no family `sudoku`"), ("chain,steps", "no family of domain logic")],
)
def test_families_that_do_not_do(tmp_path, capsys, families, complaint):
    assert main(["coldstart", "--output", str(tmp_path / "model"), "--families", families, "--quiet"]) == 2
    assert complaint in capsys.readouterr().err
