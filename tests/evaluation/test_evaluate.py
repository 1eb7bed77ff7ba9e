"""Generation, verification and counting with a tiny model."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.errors import ConfigError, ModelError, ProblemError
from mcpo_rl.evaluation import compare_evaluations, completions_path, evaluate
from mcpo_rl.evaluation.evaluating import problem_key
from mcpo_rl.scores import EvaluationRecord
from mcpo_rl.types import Problem, Status, Verdict

from .standins import Items, StandInService


@pytest.mark.usefixtures("service")
class TestEvaluate:
    def test_counts_agree_with_the_completions(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        result = evaluate(model, tokenizer, problems, samples=8, max_new_tokens=24, batch_size=10)
        assert len(result.completions) == 48
        for row, problem in enumerate(problems):
            own = [item for item in result.completions if item.problem == row]
            assert [item.sample for item in own] == list(range(8))
            assert result.scores[row].correct == sum(str(problem.reference) in item.text for item in own)
            assert result.scores[row].tokens == sum(item.tokens for item in own)
        shares = [score.correct / 8 for score in result.scores]
        assert 0 < np.mean(shares) < 1, "the test needs right and wrong completions"
        assert result.domains["math"].accuracy.value == pytest.approx(np.mean(shares[:3]))
        assert result.micro.accuracy.value == pytest.approx(np.mean(shares))
        assert result.macro.value == pytest.approx((np.mean(shares[:3]) + np.mean(shares[3:])) / 2)
        assert set(result.sources) == {"math/sums", "logic/sums"}

    def test_ends_and_truncation(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        result = evaluate(model, tokenizer, problems, samples=16, max_new_tokens=30, batch_size=32)
        ended = [item for item in result.completions if not item.truncated]
        cut = [item for item in result.completions if item.truncated]
        assert ended and cut, "the test needs both"
        assert all(item.tokens == 30 and len(tokenizer(item.text)["input_ids"]) <= 30 for item in cut)
        assert all(item.tokens <= 30 for item in ended)
        assert not any("<eos>" in item.text or "<pad>" in item.text for item in result.completions)
        assert result.micro.truncated == len(cut) / 96

    def test_any_of_the_end_tokens_ends(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        letters = tokenizer.convert_tokens_to_ids(list("abcdefghijklm"))
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *letters]
        result = evaluate(model, tokenizer, problems, samples=8, max_new_tokens=40)
        assert not any(set(item.text) & set("abcdefghijklm") for item in result.completions)
        assert result.micro.completion_length < 10

    def test_seeded_and_leaves_the_callers_state_alone(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        torch.manual_seed(5)
        before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
        first = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=8, batch_size=5, seed=1)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1] and np.random.get_state()[1].tolist() == before[2]
        torch.manual_seed(6)
        again = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=8, batch_size=5, seed=1)
        other = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=8, batch_size=5, seed=2)
        assert [item.text for item in again.completions] == [item.text for item in first.completions]
        assert [item.text for item in other.completions] != [item.text for item in first.completions]
        assert len({item.text for item in first.completions}) > 6, "samples and batches must differ from each other"

    def test_every_batch_has_random_numbers_of_its_own(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        result = evaluate(model, tokenizer, problems[:1], samples=6, max_new_tokens=12, batch_size=1)
        assert len({item.text for item in result.completions}) == 6

    @pytest.mark.gpu
    def test_seeded_on_a_gpu_too(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        before = (torch.get_rng_state(), torch.cuda.get_rng_state())
        model = model.to("cuda")
        first, again = (evaluate(model, tokenizer, problems, samples=2, max_new_tokens=8, seed=1) for _ in range(2))
        assert [item.text for item in first.completions] == [item.text for item in again.completions]
        assert torch.equal(torch.get_rng_state(), before[0]) and torch.equal(torch.cuda.get_rng_state(), before[1])

    def test_greedy_does_not_depend_on_padding(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        together = evaluate(model, tokenizer, problems, temperature=0.0, max_new_tokens=12, batch_size=6)
        alone = evaluate(model, tokenizer, problems, temperature=0.0, max_new_tokens=12, batch_size=1, seed=9)
        assert [item.text for item in together.completions] == [item.text for item in alone.completions]
        ids = tokenizer.apply_chat_template(
            problems[0].prompt, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        plain = model.eval().generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
        assert together.completions[0].text == tokenizer.decode(plain, skip_special_tokens=True)

    def test_model_and_tokenizer_come_back_as_they_were(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        model.generation_config.temperature = 0.01  # the model's own taste must neither be used nor lost
        model.generation_config.do_sample = True
        side = tokenizer.padding_side
        result = evaluate(model, tokenizer, problems, samples=4, max_new_tokens=8)
        assert model.training and tokenizer.padding_side == side
        assert model.generation_config.temperature == 0.01
        assert len({item.text for item in result.completions}) > 12

    def test_progress(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        seen: list[tuple[int, int]] = []
        evaluate(model, tokenizer, problems, max_new_tokens=2, batch_size=4, progress=lambda *x: seen.append(x))
        assert seen == [(0, 6), (4, 6), (6, 6)]

    def test_saves_numbers_and_every_completion(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem], tmp_path: Path
    ) -> None:
        result = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=4)
        path = result.save(tmp_path / "run" / "eval.json")
        data = json.loads(path.read_text())
        assert data["settings"]["samples"] == 2 and data["domains"]["math"]["problems"] == 3
        record = EvaluationRecord.read(path)
        assert record.scores == result.scores and record.domains == result.domains
        rows = pq.read_table(completions_path(path)).to_pylist()
        assert [row["completion"] for row in rows] == [item.text for item in result.completions]
        assert rows[0]["id"] == "math-0" and json.loads(rows[0]["prompt"]) == problems[0].prompt
        assert {row["status"] for row in rows} <= {"correct", "incorrect"}
        assert compare_evaluations(path, result).micro.value == 0.0


class TestVerification:
    def test_a_verifiers_failure_is_not_a_wrong_answer(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        problems: list[Problem],
        service: StandInService,
    ) -> None:
        def verify(items: Items) -> list[Verdict]:
            return [
                Verdict(status=Status.ERROR, reward=None)
                if domain == "logic"
                else Verdict(status=Status.CORRECT, reward=1.0)
                for domain, _, _ in items
            ]

        service.verify = verify
        result = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=2)
        assert result.domains["logic"].errors == 1.0 and result.domains["logic"].accuracy.problems == 0
        assert result.micro.accuracy.value == 1.0 and result.micro.errors == 0.5

    def test_with_the_real_verifiers(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
        problem = Problem(domain="math", prompt=[{"role": "user", "content": "1+1?"}], reference="2")
        result = evaluate(model, tokenizer, [problem], samples=4, max_new_tokens=6)
        assert result.domains["math"].errors == 0.0


@pytest.mark.usefixtures("service")
class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"samples": 0}, "`samples` must be at least 1"),
            ({"max_new_tokens": 0}, "`max_new_tokens`"),
            ({"batch_size": -1}, "`batch_size`"),
            ({"temperature": -0.1}, "`temperature`"),
            ({"top_p": 0.0}, "`top_p`"),
            ({"temperature": 0.0, "samples": 2}, "the same completion"),
        ],
    )
    def test_settings(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        problems: list[Problem],
        changes: dict[str, Any],
        message: str,
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            evaluate(model, tokenizer, problems, **changes)

    def test_no_problems(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
        with pytest.raises(ProblemError, match="no problems"):
            evaluate(model, tokenizer, [])

    def test_no_room(
        self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: list[Problem]
    ) -> None:
        with pytest.raises(ProblemError, match=r"longest prompt has 8 tokens.*context of 128.*at most 120"):
            evaluate(model, tokenizer, problems, max_new_tokens=121)

    def test_no_chat_template(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        problems: list[Problem],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(tokenizer, "chat_template", None)
        with pytest.raises(ModelError, match="no chat template"):
            evaluate(model, tokenizer, problems)


def test_keys_follow_what_defines_a_problem() -> None:
    problem = Problem(domain="math", prompt=[{"role": "user", "content": "1+1?"}], reference="2", id="a")
    same = Problem(domain="math", prompt=[{"role": "user", "content": "1+1?"}], reference="2", id="b", source="s")
    other = Problem(domain="math", prompt=[{"role": "user", "content": "1+1?"}], reference="3", id="a")
    assert problem_key(problem) == problem_key(same) != problem_key(other)


def test_importing_the_package_loads_neither_torch_nor_an_engine() -> None:
    code = "import sys, mcpo_rl.evaluation; print([m for m in ('torch', 'trl', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
