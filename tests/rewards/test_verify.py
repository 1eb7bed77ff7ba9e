"""Rewards: batches judged concurrently, errors kept apart from wrong answers, JSON lines as a stream."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from mcpo_rl import domains
from mcpo_rl.domains.base import correct, failed, incorrect
from mcpo_rl.errors import ProblemError, UnknownDomainError, VerificationError
from mcpo_rl.rewards import make_verifier_reward, verifier_reward, verify_batch, verify_lines
from mcpo_rl.types import Verdict

WORD = {"kind": "word", "answer": "True"}
ASSERTS = {"asserts": ["assert f(2) == 4"]}


class Recorder:
    """A domain that says what it is told and counts how often it is asked."""

    name = "recorder"
    answer_format = ""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def check_reference(self, reference: Any) -> None:
        if reference == "bad":
            raise ProblemError("recorder: a bad reference")

    def verify(self, completion: str, reference: Any) -> Verdict:
        self.asked.append(completion)
        return {"right": correct, "broken": lambda answer: failed(answer, "the wire is cut")}.get(
            completion, lambda answer: incorrect(answer, "no")
        )(completion)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(domains.DOMAINS, "recorder", recorder)
    return recorder


def test_a_mixed_batch_keeps_its_order() -> None:
    items = [
        ("math", "#### 12", "12"),
        ("code", "```python\ndef f(x): return 2 * x\n```", ASSERTS),
        ("logic", "<answer>False</answer>", WORD),
        ("code", "```python\ndef f(x): return x\n```", ASSERTS),
        ("logic", "<answer>True</answer>", WORD),
        ("math", "#### 13", "12"),
    ]
    assert [verdict.reward for verdict in verify_batch(items, workers=3)] == [1, 1, 0, 0, 1, 0]
    assert verify_batch([]) == []


def test_equal_items_are_judged_once(recorder: Recorder) -> None:
    items = [("recorder", text, {"a": 1, "b": [2]}) for text in ("right", "wrong", "right", "right")]
    items.append(("recorder", "right", {"b": [2], "a": 2}))
    assert [verdict.reward for verdict in verify_batch(items)] == [1, 0, 1, 1, 1]
    assert sorted(recorder.asked) == ["right", "right", "wrong"]


@pytest.mark.parametrize(
    ("item", "error", "says"),
    [
        (("maths", "x", "1"), UnknownDomainError, "row 1: there is no domain 'maths'"),
        ((None, "x", "1"), ProblemError, "row 1 names no domain"),
        (("math", "x", None), ProblemError, r"row 1 \(domain math\) has no reference"),
        (("math", "x", 5), ProblemError, "row 1: math: the reference must be"),
    ],
)
def test_items_that_cannot_be_judged(item: tuple[Any, str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        verify_batch([("math", "#### 1", "1"), item])


def test_mostly_errors_stop_with_the_cause(recorder: Recorder) -> None:
    items = [("recorder", text, 1) for text in ("broken", "broken", "right")]
    with pytest.raises(VerificationError, match=r"2 of 3 completions could not be judged.*recorder: the wire is cut"):
        verify_batch(items)
    assert [verdict.reward for verdict in verify_batch(items, max_error_rate=1.0)] == [None, None, 1.0]


def test_some_errors_warn_and_few_do_not(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        verify_batch([("recorder", "broken", 1)] + [("recorder", "right", 1)] * 19)
        assert caplog.records == []
        verify_batch([("recorder", "broken", 1)] * 2 + [("recorder", "right", 1)] * 18)
    assert "2 of 20 completions could not be judged" in caplog.text


def test_the_reward_function(recorder: Recorder) -> None:
    metrics: dict[str, float] = {}
    extra: dict[str, list[Any]] = {}
    chat = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "no"},
        {"role": "assistant", "content": "#### 2"},
    ]
    rewards = verifier_reward(
        prompts=["?"] * 6,
        completions=["#### 2", chat, "right", "broken", "wrong", [{"role": "tool", "content": "right"}]],
        domain=["math", "math", "recorder", "recorder", "recorder", "recorder"],
        reference=['"2"', '"2"', "1", "1", {"taken": "as it is"}, "1"],
        completion_ids=[[1]] * 6,
        trainer_state=None,
        log_metric=metrics.__setitem__,
        log_extra=extra.__setitem__,
    )
    assert rewards == [1.0, 1.0, 1.0, None, 0.0, 0.0]
    assert extra["verdict"] == ["correct", "correct", "correct", "error", "incorrect", "incorrect"]
    assert extra["answer"] == ["2", "2", "right", "broken", "wrong", ""]
    assert {name: value for name, value in metrics.items() if "seconds" not in name} == {
        "verify/math/correct": 2.0,
        "verify/math/incorrect": 0.0,
        "verify/math/error_rate": 0.0,
        "verify/recorder/correct": 1.0,
        "verify/recorder/incorrect": 2.0,
        "verify/recorder/error_rate": 0.25,
    }
    assert {name for name in metrics if "seconds" in name} == {
        "verify/seconds",
        "verify/waited_seconds",
        *(f"verify/{domain}/seconds_{kind}" for domain in ("math", "recorder") for kind in ("mean", "max")),
    }
    assert len(extra["verify_seconds"]) == len(extra["detail"]) == 6
    assert verifier_reward.__name__ == "verifier_reward"


def test_the_reward_function_with_other_columns() -> None:
    reward = make_verifier_reward(domain_column="area", reference_column="gold", workers=1)
    assert reward(prompts=["?"], completions=["#### 2"], area=["math"], gold=['"2"']) == [1.0]
    with pytest.raises(ProblemError, match="no column `gold`, which the verifiers need; columns: area, reference"):
        reward(prompts=["?"], completions=["#### 2"], area=["math"], reference=["2"])
    with pytest.raises(ProblemError, match="row 0: the reference must be JSON text"):
        reward(prompts=["?"], completions=["#### 2"], area=["math"], gold=["not json"])
    with pytest.raises(ProblemError, match="row 0 names no domain"):
        reward(prompts=["?"], completions=["#### 2"], area=[None], gold=["2"])


def test_a_head_start_is_used_where_it_fits(recorder: Recorder) -> None:
    reward = make_verifier_reward()
    columns = {"domain": ["recorder"] * 2, "reference": ["1", "1"]}
    reward.begin(["right", "wrong"], **columns)
    assert reward(prompts=["?"] * 2, completions=["right", "wrong"], **columns) == [1.0, 0.0]
    assert sorted(recorder.asked) == ["right", "wrong"]
    begun = reward.begin(["right", "wrong"], **columns)
    assert reward(prompts=["?"] * 2, completions=["wrong", "right"], **columns) == [0.0, 1.0]
    assert begun.done()  # given up
    assert reward(prompts=["?"] * 2, completions=["right", "right"], **columns) == [1.0, 1.0]


def lines(*rows: Any) -> list[str]:
    return [row if isinstance(row, str) else json.dumps(row) for row in rows]


def test_lines_are_judged_in_order() -> None:
    given = lines(*({"reference": "12", "completion": f"#### {number}"} for number in (12, 13, 12)), "")
    verdicts = list(verify_lines(given, "math"))
    assert [verdict["status"] for verdict in verdicts] == ["correct", "incorrect", "correct"]
    assert verdicts[0] == {"status": "correct", "reward": 1.0, "answer": "12", "detail": ""}


def test_lines_that_cannot_be_judged_are_errors_that_name_the_line() -> None:
    given = lines(
        "{",
        "[]",
        {"completion": "x"},
        {"reference": "1"},
        {"reference": 1, "completion": "x"},
        {"reference": "1", "completion": 1},
    )
    verdicts = list(verify_lines(given, "math"))
    assert [(verdict["status"], verdict["reward"]) for verdict in verdicts] == [("error", None)] * 6
    for number, (verdict, says) in enumerate(
        zip(
            verdicts,
            ("is not JSON", "is not an object", "no `reference`", "no `completion`", "must be a non-empty", "string"),
            strict=True,
        ),
        1,
    ):
        assert f"line {number}" in verdict["detail"]
        assert says in verdict["detail"]


def test_a_verdict_comes_before_the_next_line_is_needed() -> None:
    seen: list[str] = []

    def conversation() -> Any:
        for number in range(20):
            assert len(seen) >= number - 1, "the reader may be one line ahead of the verdicts, not more"
            yield json.dumps({"reference": "1", "completion": "#### 1"})
            while len(seen) <= number:  # as a partner who waits for its answer
                pass

    for verdict in verify_lines(conversation(), "math", workers=1):
        seen.append(verdict["status"])
    assert seen == ["correct"] * 20


def test_a_source_of_lines_that_fails() -> None:
    def broken() -> Any:
        yield from lines({"reference": "1", "completion": "#### 1"})
        raise OSError("the disk is gone")

    verdicts = verify_lines(broken(), "math")
    assert next(verdicts)["status"] == "correct"
    with pytest.raises(ProblemError, match="the disk is gone"):
        next(verdicts)
    with pytest.raises(UnknownDomainError):
        next(verify_lines([], "maths"))
