"""Summaries and comparisons of evaluations, by hand."""

import json
from pathlib import Path

import pytest

from mcpo_rl.errors import ProblemError, RunError
from mcpo_rl.scores import EvaluationRecord, ProblemScore, compare_records


def score(key: str, domain: str, correct: int, *, samples: int = 4, **more: object) -> ProblemScore:
    return ProblemScore(key=key, domain=domain, correct=correct, samples=samples, **more)  # type: ignore[arg-type]


def record(scores: list[ProblemScore], **settings: object) -> EvaluationRecord:
    return EvaluationRecord(model="m", settings={"samples": 4, **settings}, scores=scores)


class TestSummary:
    def test_by_hand(self) -> None:
        evaluation = record(
            [
                score("a", "math", 1, source="chains", truncated=2, tokens=40),
                score("b", "math", 2, source="gcd", errors=1, tokens=60),
                score("c", "logic", 4, tokens=20),
                score("d", "logic", 0, errors=4, tokens=0),
            ]
        )
        math = evaluation.domains["math"]
        assert math.problems == 2 and math.samples == 8
        assert math.accuracy.value == pytest.approx((1 / 4 + 2 / 3) / 2)
        assert math.pass_at_k[1].value == pytest.approx(math.accuracy.value)
        assert math.pass_at_k[2].value == pytest.approx((1 - 3 / 6 + 1 - 0 / 3) / 2)
        assert (
            math.pass_at_k[4].value == 1.0 and math.pass_at_k[4].problems == 1
        )  # only "a" has four judged completions
        assert (math.truncated, math.errors, math.completion_length) == (2 / 8, 1 / 8, 100 / 8)
        logic = evaluation.domains["logic"]
        assert (
            logic.accuracy.value == 1.0 and logic.accuracy.problems == 1
        )  # a verifier's failure is not a wrong answer
        assert list(evaluation.sources) == ["math/chains", "math/gcd"]
        assert evaluation.macro.value == pytest.approx((math.accuracy.value + 1.0) / 2)
        assert evaluation.micro.accuracy.value == pytest.approx((1 / 4 + 2 / 3 + 1) / 3)

    def test_everything_failed(self) -> None:
        evaluation = record([score("a", "math", 0, errors=4)])
        assert evaluation.domains["math"].accuracy.problems == 0
        assert evaluation.domains["math"].pass_at_k == {}
        assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["macro"]["accuracy"]["value"] is None
        assert "nothing judged" in str(evaluation)

    def test_table(self) -> None:
        text = str(
            record([score("a", "math", 1, source="x"), score("b", "math", 3, source="y"), score("c", "logic", 4)])
        )
        lines = text.splitlines()
        assert lines[0].split() == [
            "problems",
            "avg@4",
            "95%",
            "interval",
            "pass@4",
            "maj@4",
            "truncated",
            "errors",
            "tokens",
        ]
        assert [line.split()[0] for line in lines[1:]] == ["logic", "math", "x", "y", "mean", "all"]
        assert {len(line) for line in lines if not line.startswith("mean")} == {len(lines[0])}

    def test_json_round_trip(self, tmp_path: Path) -> None:
        evaluation = record([score("a", "math", 1, id="p1", source="chains")], temperature=1.0)
        (tmp_path / "eval.json").write_text(json.dumps(evaluation.to_json()))
        assert EvaluationRecord.read(tmp_path / "eval.json") == evaluation

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"scores": [{"key": "a"}]}', '{"scores": 3}'])
    def test_reading_something_else(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "eval.json"
        path.write_text(text)
        with pytest.raises(RunError, match=r"eval\.json"):
            EvaluationRecord.read(path)
        with pytest.raises(RunError, match="no evaluation"):
            EvaluationRecord.read(tmp_path / "nothing.json")


class TestComparison:
    def test_pairs_by_problem_not_by_place(self) -> None:
        first = record([score(str(i), "math", i % 5) for i in range(20)])
        second = record([score(str(i), "math", i % 5) for i in reversed(range(20))])
        comparison = compare_records(first, second)
        assert (
            comparison.domains["math"].value == comparison.domains["math"].low == comparison.domains["math"].high == 0.0
        )
        assert comparison.remarks == []

    def test_second_minus_first_per_domain(self) -> None:
        first = record([score(f"m{i}", "math", 1) for i in range(8)] + [score(f"c{i}", "code", 3) for i in range(4)])
        second = record([score(f"m{i}", "math", 3) for i in range(8)] + [score(f"c{i}", "code", 2) for i in range(4)])
        comparison = compare_records(first, second)
        assert comparison.domains["math"].value == 0.5 and comparison.domains["math"].clear
        assert (
            comparison.domains["code"].value == -0.25 and not comparison.domains["code"].clear
        )  # four problems say little
        assert comparison.macro.value == pytest.approx(0.125)
        assert comparison.micro.value == pytest.approx((8 * 0.5 - 4 * 0.25) / 12)

    def test_pairing_narrows_the_interval(self) -> None:
        # Problems differ much, the two models differ by the same small amount on each.
        first = record([score(str(i), "math", i % 4) for i in range(8)])
        second = record([score(str(i), "math", i % 4 + 1) for i in range(8)])
        assert compare_records(first, second).domains["math"].low == pytest.approx(0.25)
        assert first.domains["math"].accuracy.high > second.domains["math"].accuracy.low

    def test_refuses_different_problems(self) -> None:
        first = record([score("a", "math", 1), score("b", "math", 1, id="gcd-7")])
        with pytest.raises(
            ProblemError, match=r"1 in common, 1 \(such as gcd-7 of math\) only in the first, 0 only in the second"
        ):
            compare_records(first, record([score("a", "math", 1)]))
        with pytest.raises(ProblemError, match="0 in common"):
            compare_records(first, record([]))

    def test_a_problem_may_occur_twice(self) -> None:
        twice = record([score("a", "math", 0), score("a", "math", 4)])
        assert compare_records(twice, twice).micro.problems == 2
        with pytest.raises(ProblemError):
            compare_records(twice, record([score("a", "math", 0)]))

    def test_says_what_is_less_than_fair(self) -> None:
        first = record([score("a", "math", 1), score("b", "math", 0, errors=4)], temperature=1.0)
        second = record([score("a", "math", 1), score("b", "math", 1)], temperature=0.6)
        comparison = compare_records(first, second)
        assert comparison.micro.problems == 1
        assert comparison.remarks == [
            "`temperature` differs: 1.0 and 0.6.",
            "1 problem(s) left out, because the verifier failed on all their completions.",
        ]
