"""Which completions become the probe set."""

from pathlib import Path

import pytest

from mcpo_rl.errors import ProblemError, RunError
from mcpo_rl.evaluation import evaluate
from mcpo_rl.evaluation.probing import (
    Candidate,
    candidates_in,
    candidates_of,
    choose_probe_set,
    problems_to_draw,
)
from mcpo_rl.types import Problem


def candidates(kinds: str, domain: str = "math") -> list[Candidate]:
    """One per letter: c correct, w wrong, e error; a problem for every two."""
    status = {"c": "correct", "w": "incorrect", "e": "error"}
    return [
        Candidate(
            key=f"{domain}{row // 2}",
            domain=domain,
            prompt=f"{row // 2}?",
            completion=f"{kind}{row}",
            status=status[kind],
            truncated=row == 1,
        )
        for row, kind in enumerate(kinds)
    ]


def chosen(kinds: str, per_domain: int) -> list[str]:
    return choose_probe_set(candidates(kinds), per_domain=per_domain).completions


def test_half_and_half_on_as_many_problems_as_possible() -> None:
    # Of the correct ones the first of each problem, then the second ones.
    assert chosen("ccccwwww", 4) == ["c0", "c2", "w4", "w6"]
    assert chosen("ccccwwww", 6) == ["c0", "c2", "c1", "w4", "w6", "w5"]
    assert chosen("ccccwwww", 99) == ["c0", "c2", "c1", "c3", "w4", "w6", "w5", "w7"]
    assert chosen("cwwwww", 5) == ["c0", "w1", "w2", "w4", "w3"]


def test_the_other_verdict_fills_up() -> None:
    assert chosen("cwwwww", 4) == ["c0", "w1", "w2", "w4"]
    assert chosen("cccccw", 4) == ["c0", "c2", "c4", "w5"]
    assert chosen("wwwwww", 4) == ["w0", "w2", "w4", "w1"]
    assert chosen("cccccc", 4) == ["c0", "c2", "c4", "c1"]


def test_what_could_not_be_judged_or_is_empty_is_left_out() -> None:
    assert chosen("ecwe", 4) == ["c1", "w2"]
    blank = [Candidate(key="k", domain="d", prompt="p", completion=" \n", status="incorrect", truncated=False)]
    with pytest.raises(ProblemError, match="None of the 3 completions"):
        choose_probe_set([*candidates("ee"), *blank], per_domain=4)


def test_each_domain_for_itself_and_everything_kept() -> None:
    both = candidates("cw", "math") + candidates("ww", "code")
    made = choose_probe_set(both, per_domain=2, chat_template_kwargs={"enable_thinking": False}, origin="m")
    assert made.domains == ["code", "code", "math", "math"]
    assert made.verdicts == ["incorrect", "incorrect", "correct", "incorrect"]
    assert made.keys == ["code0", "code0", "math0", "math0"] and made.truncated == [False, True, False, True]
    assert (made.chat_template_kwargs, made.origin) == ({"enable_thinking": False}, "m")


def test_the_completions_of_an_evaluation_in_memory_and_on_disk(
    model, tokenizer, problems, service, tmp_path: Path
) -> None:
    result = evaluate(model, tokenizer, problems, samples=2, max_new_tokens=4)
    result.save(tmp_path / "base.json")
    direct = candidates_of(result)
    assert len(direct) == 12 and {candidate.domain for candidate in direct} == {"math", "logic"}
    assert candidates_in(tmp_path / "base.json") == direct
    assert candidates_in(tmp_path / "base.completions.parquet") == direct
    with pytest.raises(RunError, match="There are no completions"):
        candidates_in(tmp_path / "none.json")


def test_how_many_problems_are_drawn() -> None:
    many = [
        Problem(domain=domain, prompt=[{"role": "user", "content": str(row)}], reference="")
        for row in range(50)
        for domain in ("math", "code")
    ]
    taken = problems_to_draw(many, per_domain=10, samples=4)
    # 2 x 10 completions of each domain, 4 of each problem
    assert [problem.prompt[0]["content"] for problem in taken if problem.domain == "math"] == list("01234")
    assert len(taken) == 10
    assert len(problems_to_draw(many, per_domain=99, samples=1)) == 100
