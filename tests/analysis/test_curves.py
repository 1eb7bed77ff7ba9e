"""Curves and heat maps: hand-made series, and what must not be drawn."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcpo_rl.analysis.reading.loading import RunData, load_runs
from mcpo_rl.analysis.reading.seeds import Family, families
from mcpo_rl.analysis.sections.curves import MOST_POINTS, curve, curves_section, smooth, term_section
from mcpo_rl.analysis.sections.figures import borrowed, borrowing_over_time, borrowing_panel, borrowing_section
from mcpo_rl.analysis.sections.interference import cosine_table, in_words, interference_section, mean_over_blocks
from mcpo_rl.analysis.sections.matrices import by_pair, matrix_panel, over_time_panel, reach_of, step_windows
from mcpo_rl.analysis.sections.palette import domain_colours
from mcpo_rl.analysis.sections.wording import sign
from mcpo_rl.runs import RunDirectory

Empty = Callable[[str], RunDirectory]
DOMAINS = ["math", "code", "logic"]
COLOURS = domain_colours(DOMAINS)
LINE = {"color": "#123456"}


def logged(empty_run: Empty, rows: list[dict[str, Any]], name: str = "run") -> RunData:
    run = empty_run(name)
    for step, row in enumerate(rows, 1):
        run.append_metrics({"step": step, **row})
    return load_runs([run.path])[0]


class TestCurves:
    def test_smoothing(self) -> None:
        assert smooth([]) == [] and smooth([3.0]) == [3.0]
        line = np.linspace(0, 5, 60)
        assert np.allclose(smooth(line.tolist()), line), "a straight line stays as it is, up to the ends"
        noise = np.random.default_rng(0).normal(size=240)
        assert np.std(smooth(noise.tolist())) < 0.4 * np.std(noise)

    def test_a_long_run_is_thinned_after_smoothing(self, empty_run: Empty) -> None:
        run = logged(empty_run, [{"x": float(step)} for step in range(1, 3001)])
        points, line = curve(run, "x", line=LINE)
        assert len(points["x"]) == len(line["x"]) == MOST_POINTS
        assert (line["x"][0], line["x"][-1]) == (1, 3000)
        assert line["y"] == pytest.approx(line["x"], rel=1e-4)

    def test_seeds_are_faint_below_their_mean(self, empty_run: Empty) -> None:
        runs = [logged(empty_run, [{"x": value}] * 3, str(value)) for value in (1.0, 3.0)]
        first, second, mean = curve(Family("both", tuple(runs)), "x", line=LINE)
        assert (first["y"], second["y"], mean["y"]) == ([1.0] * 3, [3.0] * 3, [2.0] * 3)
        assert first["hoverinfo"] == "skip" and mean["name"] == "both"

    def test_what_says_nothing_is_left_out(self, empty_run: Empty) -> None:
        row = {f"domain/{d}/{m}": 0.25 for d in DOMAINS for m in ("accuracy", "reward", "share")}
        row |= {f"domain/{d}/{m}": 0.0 for d in DOMAINS for m in ("truncated", "error")}
        section = curves_section(families([logged(empty_run, [row] * 4)]), DOMAINS, COLOURS)
        assert [group.heading for group in section.groups] == ["Accuracy on the training rollouts"]
        row |= {"domain/code/error": 0.1, "domain/math/share": 0.4, "domain/math/reward": 0.3}
        run = logged(empty_run, [row, {**row, "domain/math/share": 0.5}], "other")
        headings = [group.heading for group in curves_section(families([run]), DOMAINS, COLOURS).groups]
        assert headings[1:] == ["Mean reward", "Share of completions that the verifier failed on", "Share of the batch"]

    def test_names_are_escaped_for_plotly(self, empty_run: Empty) -> None:
        run = logged(empty_run, [{"x": 1.0}, {"x": 2.0}])
        run.name = "<b>bold</b>"
        assert curve(run, "x", line=LINE)[1]["name"] == escape(run.name)

    def test_no_metrics_is_said(self, empty_run: Empty) -> None:
        groups = families([logged(empty_run, [{"loss": 1.0}])])
        assert curves_section(groups, [], {}).empty and "No metrics" in curves_section(groups, [], {}).missing
        assert term_section(groups).empty


class TestHeatMaps:
    def test_few_steps_are_columns_of_their_own(self) -> None:
        assert step_windows([1, 5, 9]) == [(1, 1), (5, 5), (9, 9)]
        assert step_windows([]) == []

    def test_many_steps_are_windows_of_equal_width(self) -> None:
        windows = step_windows(list(range(1, 101)), most=10)
        assert windows == [(10 * k + 1, 10 * k + 10) for k in range(10)]
        gap = step_windows([1, 2, 3, 100], most=3)
        assert gap == [(1, 3), (100, 100)], "a window without a step has no column"

    def test_the_mean_of_each_window(self) -> None:
        steps = list(range(1, 97))
        panel = over_time_panel("t", {"a": (steps, [float(s) for s in steps])}, label="l", hover="%{z}", reach=1.0)
        assert panel is not None
        heat = panel.figure["data"][0]
        assert len(heat["z"][0]) == 48 and heat["z"][0][:2] == [1.5, 3.5]
        assert heat["customdata"][0][0] == "steps 1 to 2" and heat["x"][0] == 1.5

    def test_a_row_without_a_value_in_a_window_is_empty_there(self) -> None:
        panel = over_time_panel("t", {"a": ([1, 2], [0.5, 0.5]), "b": ([2], [1.0])}, label="l", hover="")
        assert panel is not None and panel.figure["data"][0]["z"] == [[0.5, 0.5], [None, 1.0]]
        assert over_time_panel("t", {"a": ([], [])}, label="l", hover="") is None

    @pytest.mark.parametrize(("largest", "reach"), [(0.01, 0.05), (0.051, 0.1), (-0.3, 0.5), (0.7, 1.0), (0, 0.05)])
    def test_scales_end_at_round_numbers(self, largest: float, reach: float) -> None:
        assert reach_of([0.0, largest, float("nan")]) == reach

    def test_a_matrix_shows_what_is_known(self) -> None:
        values = {("math", "<i>"): 0.5, ("<i>", "math"): float("nan")}
        panel = matrix_panel("t", ["math", "<i>"], values, label="l", texts={("math", "<i>"): "half"}, hover="")
        heat = panel.figure["data"][0]
        assert heat["z"] == [[None, 0.5], [None, None]] and heat["text"] == [["", "half"], ["", ""]]
        assert heat["x"] == ["math", "&lt;i&gt;"]


class TestBorrowing:
    @pytest.fixture
    def run(self, empty_run: Empty) -> RunData:
        first = {"contrastive/borrow/math/code": 3.0, "contrastive/borrow/math/logic": 0.0}
        second = {"contrastive/borrow/math/code": 3.0, "contrastive/borrow/math/logic": 2.0}
        return logged(empty_run, [first, second])

    def test_sums_and_shares(self, run: RunData) -> None:
        assert borrowed(run) == {("math", "code"): 6.0, ("math", "logic"): 2.0}
        panel = borrowing_panel(run)
        assert panel is not None
        heat = panel.figure["data"][0]
        assert heat["y"] == ["math", "code", "logic"]
        assert heat["z"] == [[None, 0.75, 0.25], [None, None, None], [None, None, None]]

    def test_over_the_steps(self, run: RunData) -> None:
        panel = borrowing_over_time(run)
        assert panel is not None
        heat = panel.figure["data"][0]
        assert heat["y"] == ["math from code", "math from logic"]
        assert heat["z"] == [[1.0, 0.6], [0.0, 0.4]]

    def test_words(self, run: RunData) -> None:
        section = borrowing_section(families([run]))
        assert section.sentences == (
            "run: math took 75% of its 8 cross-domain positives from code; code found none; logic found none.",
        )

    def test_no_correct_rollouts_of_two_domains(self, empty_run: Empty) -> None:
        run = logged(empty_run, [{"contrastive/anchors": 0.0, "contrastive/borrow/math/code": 0.0}])
        section = borrowing_section(families([run]))
        assert section.groups == () and "chose no cross-domain positives" in section.sentences[0]


class TestInterference:
    def test_planted_conflict_and_transfer_are_told(self, two_runs: list[Path]) -> None:
        groups = families(load_runs(two_runs, most_steps=0))
        section = interference_section(groups, COLOURS)
        against, together = section.sentences
        assert against.startswith("grpo: math and code pull against each other (mean cosine −0.1")
        assert together.startswith("mcpo: math and code pull the same way (mean cosine +0.1")
        assert all("of 2 other pairs it cannot be told" in sentence for sentence in section.sentences)
        table = section.groups[0].table
        assert table is not None and table.columns == ("", "math · code", "math · logic", "code · logic")
        assert table.marked == {(0, 1), (1, 1)}, "only what was planted can be told from 0"

    def test_the_same_colour_is_the_same_cosine_in_all_runs(self, two_runs: list[Path]) -> None:
        section = interference_section(families(load_runs(two_runs, most_steps=0)), COLOURS)
        heats = [
            p.figure["data"][0] for g in section.groups for p in g.panels if p.figure["data"][0]["type"] == "heatmap"
        ]
        assert len(heats) == 6 and {(heat["zmin"], heat["zmax"]) for heat in heats} == {(-0.2, 0.2)}

    def test_matrices_are_symmetric_means_of_thirds(self, empty_run: Empty) -> None:
        rows = [{"interference/cosine/code/math": value} for value in (-0.1, -0.2, -0.3, 0, 0, 0, 0.2, 0.3, 0.4)]
        section = interference_section(families([logged(empty_run, rows)]), COLOURS)
        by_title = {panel.title: panel.figure["data"][0]["z"] for group in section.groups for panel in group.panels}
        assert by_title["First third"] == [[None, -0.2], [-0.2, None]]
        assert by_title["Last third"] == [[None, 0.3], [0.3, None]]

    def test_too_few_measurements_tell_nothing(self) -> None:
        assert not mean_over_blocks([-0.5] * 5).clear
        assert "cannot be told" not in in_words("run", {("a", "b"): (list(range(6)), [-0.5] * 6)})
        assert "of no two domains" in in_words("run", {("a", "b"): (list(range(5)), [-0.5] * 5)})

    @pytest.mark.parametrize(("count", "shown"), [(1, "+0.100 (1 measurement)"), (6, "+0.100 (+0.100 to +0.100)")])
    def test_a_mean_of_a_few_measurements_has_no_interval(self, empty_run: Empty, count: int, shown: str) -> None:
        (run,) = families([logged(empty_run, [{"interference/cosine/code/math": 0.1}] * count)])
        table = cosine_table([(run, by_pair(run.keys, "interference/cosine", run.series))])
        assert table.rows[0][1] == shown

    def test_the_interval_counts_stretches_not_steps(self) -> None:
        """Neighbours that are copies of each other must not make the interval narrower."""
        values = np.random.default_rng(0).normal(size=20).tolist()
        copied = [value for value in values for _ in range(50)]
        once, often = mean_over_blocks(values), mean_over_blocks(copied)
        assert often.value == pytest.approx(np.mean(values)) and often.problems == 20
        assert often.high - often.low == pytest.approx(once.high - once.low)

    def test_runs_that_measured_other_pairs(self, empty_run: Empty) -> None:
        runs = [
            logged(empty_run, [{f"interference/cosine/{pair}": 0.1}] * 8, pair[:4]) for pair in ("code/math", "a/b")
        ]
        measured = [(run, by_pair(run.keys, "interference/cosine", run.series)) for run in families(runs)]
        table = cosine_table(measured)
        assert [row.count("–") for row in table.rows] == [1, 1]

    def test_the_term_against_the_policy(self, empty_run: Empty) -> None:
        noise = np.random.default_rng(1).normal(scale=0.01, size=12)
        rows = [
            {
                "interference/cosine/code/math": 0.1,
                "interference/term/code": float(value),
                "interference/term/logic": float(value) - 0.1,
                "interference/term/math": float(value) + 0.2,
            }
            for value in noise
        ]
        section = interference_section(families([logged(empty_run, rows)]), COLOURS)
        math, logic = (sign(float(noise.mean()) + shift) for shift in (0.2, -0.1))
        assert section.sentences[1] == (
            f"run: the contrastive term pulls with math ({math}) and pulls against logic ({logic}), by its mean "
            "cosine with their gradients; of 1 more it cannot be told."
        )
        (panel,) = [p for g in section.groups for p in g.panels if p.title == "Contrastive term and policy"]
        assert {trace["name"] for trace in panel.figure["data"] if trace.get("name")} == {"math", "code", "logic"}

    def test_a_term_that_the_policy_does_not_feel(self, empty_run: Empty) -> None:
        rows = [{"interference/cosine/code/math": 0.1, "interference/term/code": (-1) ** n * 0.1} for n in range(12)]
        section = interference_section(families([logged(empty_run, rows)]), COLOURS)
        assert section.sentences[1] == (
            "run: of no domain can it be told whether the contrastive term pulls with or against its gradient."
        )

    def test_an_older_run_without_the_metric(self, empty_run: Empty) -> None:
        section = interference_section(families([logged(empty_run, [{"loss": 0.1}])]), COLOURS)
        assert section.empty and "did not measure" in section.missing
