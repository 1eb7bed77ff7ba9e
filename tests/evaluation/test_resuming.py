"""An evaluation that is stopped goes on where it was, and ends as it would have without."""

import json
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from mcpo_rl.errors import RunError, VerificationError
from mcpo_rl.evaluation import EvaluationResult, Generated, Sampling, evaluate_with
from mcpo_rl.evaluation.generation import TransformersGenerator
from mcpo_rl.evaluation.journal import Journal, journal_path
from mcpo_rl.types import Message, Problem, Status, Verdict

from .standins import Items, StandInService, contains_reference


class Stopped(Exception):
    """Stands for the kill."""


class Counting:
    """A generator that notes what it is asked for, and can be stopped after some batches."""

    def __init__(self, inner: TransformersGenerator, stop_after: int | None = None) -> None:
        self.inner, self.stop_after = inner, stop_after
        self.model, self.settings = inner.model, inner.settings
        self.rows: list[int] = []

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, *, done: Collection[int] = ()
    ) -> Iterator[list[tuple[int, Generated]]]:
        for number, batch in enumerate(self.inner.generate(prompts, sampling, done=done)):
            if number == self.stop_after:
                raise Stopped
            self.rows += [row for row, _ in batch]
            yield batch


@pytest.fixture
def inner(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> TransformersGenerator:
    return TransformersGenerator(model, tokenizer, batch_size=5, name="m")


SAMPLING = Sampling(max_new_tokens=12, seed=3)


def run(generator: Any, problems: list[Problem], journal: Path, **more: Any) -> EvaluationResult:
    return evaluate_with(generator, problems, samples=4, sampling=SAMPLING, journal=journal, **more)


class TestResuming:
    @pytest.mark.usefixtures("service")
    @pytest.mark.parametrize("stop_after", [0, 1, 3])
    def test_equals_the_uninterrupted(
        self, inner: TransformersGenerator, problems: list[Problem], tmp_path: Path, stop_after: int
    ) -> None:
        whole = run(Counting(inner), problems, tmp_path / "whole.jsonl")
        first, second = Counting(inner, stop_after), Counting(inner)
        with pytest.raises(Stopped):
            run(first, problems, tmp_path / "j.jsonl")
        seen: list[tuple[int, int]] = []
        resumed = run(second, problems, tmp_path / "j.jsonl", progress=lambda *now: seen.append(now))
        assert sorted(first.rows + second.rows) == list(range(24)), "every completion is generated once"
        assert resumed.completions == whole.completions and resumed.scores == whole.scores
        assert seen[0] == (5 * stop_after, 24) and seen[-1] == (24, 24)
        assert resumed.facts.get("resumed_at", 0) == 5 * stop_after

    @pytest.mark.usefixtures("service")
    def test_a_line_cut_by_the_kill(
        self, inner: TransformersGenerator, problems: list[Problem], tmp_path: Path
    ) -> None:
        journal = tmp_path / "j.jsonl"
        whole = run(inner, problems, journal)
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:4]) + lines[4][: len(lines[4]) // 2])  # within the first batch
        assert run(inner, problems, journal).completions == whole.completions
        assert journal.read_bytes().startswith(b"".join(lines[:4])), "what was whole stays"
        assert all(json.loads(line) for line in journal.read_bytes().splitlines())

    def test_what_was_generated_is_judged_once_more_where_the_verifier_failed(
        self, inner: TransformersGenerator, problems: list[Problem], tmp_path: Path, service: StandInService
    ) -> None:
        def fail(items: Items) -> list[Verdict]:
            return [Verdict(status=Status.ERROR, reward=None, detail="no sandbox") for _ in items]

        service.verify = fail
        with pytest.raises(VerificationError, match="no sandbox"):
            run(Counting(inner), problems, tmp_path / "j.jsonl")
        service.verify = contains_reference
        second = Counting(inner)
        assert run(second, problems, tmp_path / "j.jsonl").micro.errors == 0.0
        kept = sum("text" in json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines())
        assert kept == 24 and len(second.rows) < 24, "nothing is generated twice"

    def test_verdicts_are_kept_too(
        self, inner: TransformersGenerator, problems: list[Problem], tmp_path: Path, service: StandInService
    ) -> None:
        run(inner, problems, tmp_path / "j.jsonl")
        service.batches.clear()
        run(inner, problems, tmp_path / "j.jsonl")
        assert service.batches == []

    @pytest.mark.usefixtures("service")
    def test_odd_text_survives(self, problems: list[Problem], tmp_path: Path) -> None:
        class Odd:
            model, settings = "odd", {"engine": "none"}

            def generate(self, prompts: Any, sampling: Sampling, *, done: Collection[int] = ()) -> Any:
                yield [(row, Generated("\ud800 \u2028\n\x00 é🙂", 3, False)) for row in range(24) if row not in done]

        first = run(Odd(), problems, tmp_path / "j.jsonl")
        assert run(Odd(), problems, tmp_path / "j.jsonl").completions == first.completions
        first.save(tmp_path / "eval.json")


class TestJournal:
    def test_another_task_is_refused(self, tmp_path: Path) -> None:
        before = {"model": "a", "settings": {"temperature": 1.0, "batch_size": 8}, "problems": "p"}
        path = tmp_path / "j.jsonl"
        with Journal(path, before):
            pass
        with Journal(path, {**before, "settings": {"temperature": 1.0, "batch_size": 4}}):
            pass  # the batch size may change
        with Journal(path, before) as journal:
            journal.add_generated([(0, Generated("a", 1, False))])
        with pytest.raises(RunError, match=r"`model` was 'a', now 'b'; `temperature` was 1.0, now 0.5"):
            Journal(path, {**before, "model": "b", "settings": {"temperature": 0.5, "batch_size": 8}})

    def test_one_of_which_nothing_came_hinders_nobody(self, tmp_path: Path) -> None:
        """As one that was refused: the advice, such as fewer tokens, is another task."""
        path = tmp_path / "j.jsonl"
        for tokens in (28672, 900):
            with Journal(path, {"settings": {"max_new_tokens": tokens}}):
                pass
        assert [json.loads(line)["task"]["settings"]["max_new_tokens"] for line in path.open()] == [900]

    def test_one_writer(self, tmp_path: Path) -> None:
        with Journal(tmp_path / "j.jsonl", {}), pytest.raises(RunError, match="another evaluation"):
            Journal(tmp_path / "j.jsonl", {})
        with Journal(tmp_path / "j.jsonl", {}):
            pass

    def test_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "j.jsonl"
        path.write_text('{"a": 1}\n')
        with pytest.raises(RunError, match="not the journal of an evaluation"):
            Journal(path, {})
        assert path.read_text() == '{"a": 1}\n'

    def test_beside_the_result(self) -> None:
        assert journal_path(Path("runs/eval.json")) == Path("runs/eval.partial.jsonl")


class TestOverlap:
    def test_verification_goes_on_while_the_generator_works(
        self, inner: TransformersGenerator, problems: list[Problem], service: StandInService
    ) -> None:
        """Every batch is with the verifiers before the next one is generated, and no verdict is waited for."""
        events: list[str] = []
        service.is_done = lambda: False

        def verify(items: Items) -> list[Verdict]:
            events.append("verdicts")
            return contains_reference(items)

        class Watched(Counting):
            def generate(self, *words: Any, **more: Any) -> Iterator[list[tuple[int, Generated]]]:
                for batch in super().generate(*words, **more):
                    events.append(f"generated, {len(service.batches)} handed in")
                    yield batch

        service.verify = verify
        evaluate_with(Watched(inner), problems, samples=4, sampling=SAMPLING)
        assert events == [f"generated, {n} handed in" for n in range(5)] + ["verdicts"] * 5

    def test_with_the_real_service(
        self, inner: TransformersGenerator, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A verifier that waits for the last batch to be generated would hang an evaluation that waits for it."""
        generated = threading.Event()

        class Slow:
            name, answer_format = "slow", ""

            def check_reference(self, reference: Any) -> None: ...

            def verify(self, completion: str, reference: Any) -> Verdict:
                assert generated.wait(timeout=60)
                return Verdict(status=Status.CORRECT, reward=1.0)

        monkeypatch.setitem(__import__("mcpo_rl.domains").domains.DOMAINS, "slow", Slow())
        slow = [Problem(domain="slow", prompt=problem.prompt, reference="1") for problem in problems]

        def progress(done: int, total: int) -> None:
            if done == total:
                generated.set()

        assert evaluate_with(inner, slow, samples=2, sampling=SAMPLING, progress=progress).macro.value == 1.0

    def test_a_verifier_that_always_fails_stops_it_at_once(
        self, inner: TransformersGenerator, problems: list[Problem], service: StandInService
    ) -> None:
        def verify(items: Items) -> list[Verdict]:
            failed = Verdict(status=Status.ERROR, reward=None, detail="no bwrap")
            return [failed if domain == "logic" else Verdict(status=Status.CORRECT, reward=1.0) for domain, *_ in items]

        service.verify = verify
        counting = Counting(inner)
        with pytest.raises(VerificationError, match=r"none of the first 20 completions of domain `logic`.*no bwrap"):
            evaluate_with(counting, problems, samples=12, sampling=SAMPLING)
        assert len(counting.rows) < 72
        assert evaluate_with(inner, problems, samples=6, sampling=SAMPLING).micro.errors == 0.5, "18: too few to tell"
