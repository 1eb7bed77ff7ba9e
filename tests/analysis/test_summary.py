"""The words of the report: what was reached, what can be told apart, what limits it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.analysis.reading.loading import RunData, load_runs
from mcpo_rl.analysis.sections.cautions import cautions, unlike
from mcpo_rl.analysis.sections.summary import compare_runs, overview, run_card
from mcpo_rl.analysis.sections.wording import amount, duration, sign, signed
from mcpo_rl.runs import RunDirectory
from mcpo_rl.scores import Estimate, EvaluationRecord, ProblemScore

DOMAINS = ["math", "code", "logic"]
LINE = {"color": "#000000"}


def record(shift: int, *, keys: str = "p", count: int = 30) -> EvaluationRecord:
    scores = [
        ProblemScore(
            key=f"{keys}{row}", domain=domain, samples=10, correct=(row % 5) + (shift if domain == "math" else 0)
        )
        for domain in DOMAINS
        for row in range(count)
    ]
    return EvaluationRecord(model="m", settings={}, scores=scores)


@pytest.fixture
def runs(two_runs: list[Path]) -> list[RunData]:
    return load_runs(two_runs, most_steps=0)


class TestComparing:
    def test_no_clear_difference(self, runs: list[RunData]) -> None:
        runs[0].end, runs[1].end = record(0), record(0)
        assert "no clear difference" in compare_runs(runs)[0]
        assert "clearly" not in compare_runs(runs)[0]

    def test_a_clear_one_names_the_domain_and_the_direction(self, runs: list[RunData]) -> None:
        runs[0].end, runs[1].end = record(0), record(3)
        first = compare_runs(runs)[0]
        assert "mcpo against grpo" in first and "+0.100 (+0.100 to +0.100), clearly better" in first
        assert "Better: math +0.300" in first and "No clear difference: code +0.000" in first
        runs[0].end, runs[1].end = record(3), record(0)
        assert "clearly worse" in compare_runs(runs)[0] and "Worse: math −0.300" in compare_runs(runs)[0]

    def test_the_plain_run_is_the_baseline_whatever_the_order(self, runs: list[RunData]) -> None:
        assert compare_runs(runs[::-1])[0].startswith("mcpo against grpo")

    def test_different_problems_are_not_compared(self, runs: list[RunData]) -> None:
        runs[1].end = record(0, keys="other")
        assert "cannot be compared" in compare_runs(runs)[0]

    def test_one_seed_is_said(self, runs: list[RunData]) -> None:
        assert "trained once" in compare_runs(runs)[-1]

    def test_what_else_differs_is_named(self, runs: list[RunData]) -> None:
        assert unlike(runs[1], runs[0]) == []
        runs[0].config |= {"learning_rate": 1e-5, "contrastive_coef": 0.0, "beta": 0.1, "evaluation": {"before": True}}
        runs[1].config |= {"learning_rate": 2e-5, "contrastive_coef": 0.5, "evaluation": {"before": False}}
        runs[0].manifest |= {"model": "a", "data": {"train": {"sha256": "1"}, "heldout": {"sha256": "3"}}}
        runs[1].manifest |= {"model": "b", "data": {"train": {"sha256": "2"}, "heldout": {"sha256": "3"}}}
        runs[0].probe_set, runs[1].probe_set = "e", "f"
        runs[1].metrics = runs[1].metrics[:30]
        assert unlike(runs[1], runs[0]) == [
            "mcpo and grpo were trained on different problems.",
            "They started from different models: b and a.",
            "Their configs also differ in `learning_rate` (2e-05 in mcpo, 1e-05 in grpo).",
            "The probe sets of mcpo and grpo hold different rollouts: compare how their geometry changes, not where it "
            "stands.",
            "mcpo logged 30 steps, grpo 60.",
        ]
        assert "They started from different models: b and a." in compare_runs(runs)


class TestCards:
    def test_start_to_end(self, runs: list[RunData]) -> None:
        runs[0].start, runs[0].end = record(0), record(3)
        card = run_card(runs[0], DOMAINS, LINE)
        assert card.facts == "GRPO · seed 0 · builtin:tiny · 60 steps"
        assert "went from 0.20" in card.sentences[0] and "to 0.30" in card.sentences[0]
        assert "Clear gain: math +0.300" in card.sentences[1]
        runs[0].start = record(0, keys="other")
        assert "different problems" in run_card(runs[0], DOMAINS, LINE).sentences[1]

    def test_without_evaluation_says_what_it_speaks_of(self, runs: list[RunData]) -> None:
        runs[0].end = None
        card = run_card(runs[0], DOMAINS, LINE)
        assert card.sentences[0].startswith("Not evaluated on held-out problems.")

    def test_interference_and_forgetting_are_told(self, runs: list[RunData]) -> None:
        words = " ".join(run_card(runs[0], DOMAINS, LINE).sentences)
        assert "pull against each other, by their mean cosine: math and code (−0.1" in words
        assert "below the best held-out accuracy of the run: code by 0.10." in words
        assert "pull against" not in " ".join(run_card(runs[1], DOMAINS, LINE).sentences)

    def test_where_forgetting_was_tested_only_an_alarm_is_told(self, runs: list[RunData]) -> None:
        runs[0].metrics[-1]["forgetting_alarm/code"] = 0.0
        words = " ".join(run_card(runs[0], DOMAINS, LINE).sentences)
        assert "below the best" not in words
        runs[0].metrics[-1]["forgetting_alarm/code"] = 1.0
        words = " ".join(run_card(runs[0], DOMAINS, LINE).sentences)
        assert "code by 0.10 (more than chance explains)" in words

    def test_a_single_run_has_a_table_and_a_figure(self, runs: list[RunData]) -> None:
        found = overview(runs)
        assert found.title == "grpo · mcpo" and [card.name for card in found.cards] == ["grpo", "mcpo"]
        figure, table = found.groups
        assert len(figure.panels) == 1 and table.table is not None
        assert table.table.columns == ("", *DOMAINS, "mean of domains")
        assert [row[0] for row in table.table.rows] == ["grpo", "mcpo"]
        assert table.table.rows[0][1].startswith("0.27 → 0.")
        assert found.missing == ""

    def test_seeds_of_one_config_are_one_card(self, runs: list[RunData]) -> None:
        again = load_runs([runs[0].path], most_steps=0)[0]
        again.name, again.manifest = "grpo-1", {**again.manifest, "seed": 1}
        runs[0].end, again.end = record(0), record(3)
        (card,) = overview([runs[0], again]).cards
        assert card.name == "grpo" and "2 runs, seeds 0 and 1" in card.facts
        assert "0.25 on average over the runs (0.20, 0.30)" in card.sentences[0]

    def test_nothing_evaluated(self, empty_run: Callable[[str], RunDirectory]) -> None:
        found = overview(load_runs([empty_run("run").path]))
        assert "nothing can be said about held-out problems" in found.missing and found.groups == ()
        assert found.cards[0].sentences[-1] == "Nothing was logged yet."


def logged(empty_run: Callable[[str], RunDirectory], rows: list[dict[str, Any]], **facts: Any) -> RunData:
    run = empty_run("run")
    for step, row in enumerate(rows, 1):
        run.append_metrics({"step": step, **row})
    run.write_manifest(**facts)
    return load_runs([run.path])[0]


class TestCautions:
    def test_a_sound_run_has_none(self, runs: list[RunData]) -> None:
        assert cautions(runs[0], DOMAINS) == []

    def test_nothing_correct(self, empty_run: Callable[[str], RunDirectory]) -> None:
        row = {"domain/math/accuracy": 0.0, "domain/code/accuracy": 0.5, "domain/logic/accuracy": 0.5}
        last = {**row, "domain/logic/accuracy": 0.0}
        said = cautions(logged(empty_run, [row] * 18 + [last] * 2, status="finished"), DOMAINS)
        assert len(said) == 2
        assert said[0].startswith("Not one rollout of math was correct")
        assert said[1] == "In the last tenth of the run not one rollout of logic was correct."

    def test_truncated_failed_and_alike(self, empty_run: Callable[[str], RunDirectory]) -> None:
        good = {"domain/math/truncated": 0.0, "domain/code/error": 0.0, "frac_reward_zero_std": 0.1}
        bad = {"domain/math/truncated": 0.4, "domain/code/error": 0.05, "frac_reward_zero_std": 0.9}
        said = cautions(logged(empty_run, [good] * 18 + [bad] * 2, status="finished"), DOMAINS)
        assert said == [
            "In the last tenth of the run 40% of math's completions were cut at the token limit.",
            "In the last tenth of the run 5% of code's completions could not be judged by the verifier.",
            "In the last tenth of the run 90% of the prompts had rollouts of one reward only, from which GRPO learns "
            "nothing.",
        ]

    def test_a_broken_off_run_and_a_step_that_was_not_finite(self, empty_run: Callable[[str], RunDirectory]) -> None:
        data = logged(empty_run, [{"loss": 0.1}, {"loss": float("nan")}], status="interrupted")
        data.config["max_steps"] = 50
        assert cautions(data, DOMAINS) == [
            "The run is not finished (interrupted); its last logged step is 2 of 50.",
            "Loss or gradient was not a finite number in 1 of the logged steps, first at step 2.",
        ]


def test_numbers_as_words() -> None:
    assert sign(0.0312) == "+0.031" and sign(-0.5, 1) == "−0.5" and sign(-0.0001) == "+0.000"
    assert signed(Estimate(0.1, -0.2, 0.4, 9), 1) == "+0.1 (−0.2 to +0.4)"
    assert signed(Estimate(0.1, float("nan"), float("nan"), 1)) == "+0.100 (no interval)"
    assert [duration(x) for x in (7, 600, 36_000)] == ["7 s", "10 min", "10.0 h"]
    assert [amount(x) for x in (96, 46_123, 1_250_000)] == ["96", "46.1k", "1.25M"]
