"""maj@k against drawing every subset, closed forms and summaries by hand."""

import itertools
import json
import math
from collections import Counter

import pytest

from mcpo_rl.scores import EvaluationRecord, ProblemScore, maj_at_k


def naive(scored: int, right: list[int], wrong: list[int], k: int) -> float:
    """Draw every subset and count its votes."""
    votes = [("right", i) for i, n in enumerate(right) for _ in range(n)]
    votes += [("wrong", i) for i, n in enumerate(wrong) for _ in range(n)]
    votes += [("silent", 0)] * (scored - len(votes))
    won, draws = 0.0, 0
    for drawn in itertools.combinations(votes, k):
        counts = Counter(vote for vote in drawn if vote[0] != "silent")
        top = [vote for vote, count in counts.items() if count == max(counts.values())]
        won += sum(vote[0] == "right" for vote in top) / len(top) if top else 0.0
        draws += 1
    return won / draws


CASES = [
    (7, [3], [2, 1]),
    (8, [2], [2, 2]),
    (6, [], [3, 1]),
    (5, [1, 1], [2]),
    (9, [2, 2], [3, 1, 1]),
    (4, [], []),
    (5, [5], []),
]


@pytest.mark.parametrize(("scored", "right", "wrong"), CASES)
def test_equals_drawing_every_subset(scored: int, right: list[int], wrong: list[int]) -> None:
    for k in range(1, scored + 1):
        assert maj_at_k(scored, right, wrong, k) == pytest.approx(naive(scored, right, wrong, k), abs=1e-12)


def test_closed_forms() -> None:
    assert maj_at_k(10, [3], [4], 1) == 0.3, "a vote of one is the accuracy"
    # One right against one wrong answer, k odd: right wins where it has more than half, hypergeometric.
    n, c, k = 21, 9, 7
    exact = sum(math.comb(c, i) * math.comb(n - c, k - i) for i in range(4, k + 1)) / math.comb(n, k)
    assert maj_at_k(n, [c], [n - c], k) == pytest.approx(exact)
    assert maj_at_k(n, [c], [n - c], k) + maj_at_k(n, [n - c], [c], k) == pytest.approx(1.0)
    assert maj_at_k(4, [2], [2], 4) == 0.5 and maj_at_k(6, [2], [2, 2], 6) == pytest.approx(1 / 3)


def test_many_completions() -> None:
    assert maj_at_k(1000, [501], [499], 1000) == 1.0
    assert maj_at_k(200, [60], [4] * 35, 100) == pytest.approx(1.0)
    symmetric = [maj_at_k(200, [50], [50] * 3, 40), maj_at_k(200, [50] * 3, [50], 40)]
    assert symmetric == [pytest.approx(0.25), pytest.approx(0.75)]


@pytest.mark.parametrize(
    "arguments", [(3, [2], [2], 1), (3, [1], [0], 1), (3, [1], [1], 4), (3, [1], [1], 0), (1001, [1], [1], 1)]
)
def test_refuses_what_is_not_defined(arguments: tuple[int, list[int], list[int], int]) -> None:
    with pytest.raises(ValueError, match="maj@k needs"):
        maj_at_k(*arguments)


def score(key: str, domain: str, right: tuple[int, ...] | None, wrong: tuple[int, ...] | None) -> ProblemScore:
    correct = sum(right or ())
    return ProblemScore(key=key, domain=domain, samples=4, correct=correct, right_votes=right, wrong_votes=wrong)


def test_in_a_summary() -> None:
    scores = [score("a", "math", (2,), (2,)), score("b", "math", (2,), (1, 1)), score("c", "code", None, None)]
    record = EvaluationRecord(model="m", settings={}, scores=scores)
    assert record.domains["math"].maj_at_k[4].value == pytest.approx((0.5 + 1.0) / 2)
    assert record.domains["math"].maj_at_k[1].value == record.domains["math"].accuracy.value
    assert record.domains["code"].maj_at_k == {}
    assert record.micro.maj_at_k[4].problems == 2
    assert record.macro_maj_at_k[4].value == pytest.approx(0.75), "of the domains that are voted on"
    assert record.macro_pass_at_k[4].value == pytest.approx((1.0 + 0.0) / 2)
    assert record.to_json()["macro"]["maj_at_k"]["4"]["value"] == pytest.approx(0.75)
    lines = str(record).splitlines()
    assert lines[0].split()[1] == "avg@4"
    assert [line.split()[7] for line in lines[1:3]] == ["-", "0.750"]  # code, math


def test_votes_survive_the_file(tmp_path: object) -> None:
    record = EvaluationRecord(model="m", settings={}, scores=[score("a", "math", (2,), (1, 1))])
    data = json.loads(json.dumps(record.to_json()))
    assert data["scores"][0]["wrong_votes"] == [1, 1]
    assert ProblemScore(**data["scores"][0]) == record.scores[0]


def test_records_of_before_have_no_votes() -> None:
    old = ProblemScore(key="a", domain="math", samples=2, correct=1)
    assert not old.voted and EvaluationRecord(model="m", settings={}, scores=[old]).micro.maj_at_k == {}
