"""A comparison in the report: what `mcpo_rl.comparison` writes is what the report reads and says."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pytest

from mcpo_rl.analysis.reading.comparison import ComparisonData, read_comparison
from mcpo_rl.analysis.reading.loading import load_runs
from mcpo_rl.analysis.reading.seeds import families
from mcpo_rl.analysis.sections.comparison import (
    accuracy_table,
    comparison_sections,
    conditions,
    cost_table,
    forest_panels,
    gains_table,
    headlines,
)
from mcpo_rl.analysis.sections.palette import run_line
from mcpo_rl.analysis.sections.summary import overview
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.comparison.result import collect
from mcpo_rl.errors import RunError
from mcpo_rl.runs import RunDirectory
from mcpo_rl.scores import EvaluationRecord, ProblemScore

from .conftest import rollouts

DOMAINS = ("code", "math")
GAINS = {"grpo": 2, "mcpo": 4, "single": 3}


def record(gain: int) -> EvaluationRecord:
    scores = [
        ProblemScore(key=f"{domain}{row}", domain=domain, samples=10, correct=2 + gain + (domain == "math"))
        for domain in DOMAINS
        for row in range(12)
    ]
    return EvaluationRecord(model="m", settings={}, scores=scores)


def make_comparison(path: Path, seeds: Sequence[int], *, unfinished: str = "") -> Path:
    """A comparison of three methods whose every problem gains as planted; at higher seeds a little more."""
    mixed = [
        Task(name=f"{method}/seed_{seed}", method=method, seed=seed, steps=20)
        for method in ("grpo", "mcpo")
        for seed in seeds
    ]
    single = [
        Task(name=f"single/seed_{seed}/{domain}", method="single", seed=seed, domain=domain, steps=10)
        for seed in seeds
        for domain in DOMAINS
    ]
    plan = Plan(
        path=path,
        recipe={"model": "builtin:tiny"},
        methods=("grpo", "mcpo", "single"),
        seeds=tuple(seeds),
        budget="per-domain",
        order=DOMAINS,
        starts={seed: f"grpo/seed_{seed}" for seed in seeds},
        shares={"code": 0.5, "math": 0.5},
        steps=20,
        rollouts_per_step=32,
        tasks=(*mixed, *single),
    )
    plan.write()
    for task in plan.tasks:
        if task.name == unfinished:
            continue
        run = RunDirectory.create(plan.run(task), {"model": "builtin:tiny"})
        for step in (10, 20):
            names = [task.domain] if task.domain else list(DOMAINS)
            row = {f"domain/{name}/accuracy": 0.1 * GAINS[task.method] for name in names}
            run.append_metrics({"step": step, "step_time": 3.0, "num_tokens": 500.0 * step, **row})
        for file, gain in ((run.start_eval_file, 0), (run.eval_file, GAINS[task.method] + task.seed % 2)):
            file.write_text(json.dumps(record(gain).to_json()))
        heldout = {"heldout": {"sha256": "same"}}
        run.write_manifest(method=task.method, seed=task.seed, model="builtin:tiny", status="finished", data=heldout)
    collect(plan).save()
    return path


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_comparison(tmp_path_factory.mktemp("three") / "methods", (0, 1, 2))


@pytest.fixture(scope="module")
def data(three_seeds: Path) -> ComparisonData:
    return read_comparison(three_seeds)


class TestReading:
    def test_the_numbers_are_those_planted(self, data: ComparisonData) -> None:
        assert data.model == "builtin:tiny" and data.seeds == (0, 1, 2) and data.reference == "grpo"
        assert data.domains == ("math", "code")
        assert data.start["code"].value == pytest.approx(0.2) and data.start["math"].value == pytest.approx(0.3)
        grpo, mcpo, single = data.rows
        assert (grpo.method, mcpo.method, single.method) == ("grpo", "mcpo", "single")
        assert mcpo.accuracy["math"].value == pytest.approx((0.7 + 0.8 + 0.7) / 3)
        assert mcpo.accuracy["math"].seeds == pytest.approx({"0": 0.7, "1": 0.8, "2": 0.7})
        assert mcpo.against.value == pytest.approx(0.2) and mcpo.over_single.value == pytest.approx(0.1)
        assert not grpo.against.known and not single.over_single.known

    def test_no_result_yet(self, three_seeds: Path, tmp_path: Path) -> None:
        (tmp_path / "comparison.yaml").write_text((three_seeds / "comparison.yaml").read_text())
        with pytest.raises(RunError, match=r"has no comparison\.json: the comparison is under way"):
            read_comparison(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "seeds": 3}'])
    def test_damage(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "comparison.json").write_text(text)
        with pytest.raises(RunError, match=r"comparison\.json cannot be read as a comparison"):
            read_comparison(tmp_path)

    def test_a_format_of_the_future(self, tmp_path: Path) -> None:
        (tmp_path / "comparison.json").write_text('{"format": 99}')
        with pytest.raises(RunError, match="has format 99, this version reads format 1"):
            read_comparison(tmp_path)


class TestShowing:
    def test_tables(self, data: ComparisonData) -> None:
        table = accuracy_table(data)
        assert table.columns == ("", "math", "code", "mean of domains", "seeds")
        assert [row[0] for row in table.rows] == ["before training", "GRPO", "MCPO", "single-domain"]
        assert table.rows[0][1].startswith("0.300 (") and table.rows[0][1].endswith("°"), "one start: over problems"
        assert table.rows[2][3].startswith("0.683 (") and table.rows[2][4] == "3"
        gains = gains_table(data)
        assert gains.columns[-1] == "against GRPO"
        assert gains.rows[0][4] == "–" and gains.rows[1][4].startswith("+0.200 (")
        assert gains.rows[1][2].endswith(" code") or gains.rows[1][2].endswith(" math")

    def test_costs_of_specialists_are_those_of_all_of_them(self, data: ComparisonData) -> None:
        table = cost_table(data)
        assert [row[1] for row in table.rows] == ["1", "1", "2"]

    def test_only_what_is_clear_is_marked(self, data: ComparisonData) -> None:
        clear = {(place, 4) for place, row in enumerate(data.rows) if row.against.clear}
        clear |= {(place, 3) for place, row in enumerate(data.rows) if row.over_single.clear}
        assert gains_table(data).marked == clear and clear

    def test_figures_are_valid_and_show_every_seed(self, data: ComparisonData) -> None:
        panels = forest_panels(data, {})
        assert [panel.title for panel in panels] == ["math", "code", "mean of domains"]
        for panel in panels:
            go.Figure(panel.figure)
        seeds = [trace for trace in panels[0].figure["data"] if "text" in trace]
        assert [len(trace["x"]) for trace in seeds] == [3, 3, 3]
        assert panels[0].figure["layout"]["shapes"][0]["x0"] == pytest.approx(0.3)

    def test_words(self, data: ComparisonData) -> None:
        said = headlines(data)
        assert said[0].startswith("MCPO against GRPO, averaged over the domains: +0.200 (")
        assert said[-1].startswith("The smallest gain of a domain, averaged over the seeds: GRPO +0.2")
        assert (
            "seeds 0, 1 and 2: 20 optimizer steps of 32 rollouts. Budget per-domain: every domain"
            in conditions(data)[0]
        )

    def test_a_smallest_gain_of_no_one_domain_names_none(self, data: ComparisonData) -> None:
        mixed = replace(data, rows=tuple(replace(row, worst_domain="") for row in data.rows))
        assert "(not the same domain at every seed), MCPO" in headlines(mixed)[-1]

    def test_what_is_missing_and_too_few_seeds_are_said(self, tmp_path: Path) -> None:
        made = read_comparison(make_comparison(tmp_path / "c", (0, 1), unfinished="mcpo/seed_1"))
        words = " ".join(conditions(made))
        assert "Not finished, and not in the numbers: MCPO seed 1 (" in words
        assert "With 2 training seeds no difference between methods is called clear" in words
        assert accuracy_table(made).rows[2][-1] == "1"
        assert gains_table(made).marked == frozenset(), "with two seeds nothing is clear, so nothing is marked"
        assert not any("clearly" in sentence for sentence in headlines(made))


class TestOnThePage:
    def test_a_comparison_stands_for_its_runs(self, three_seeds: Path) -> None:
        runs = load_runs([three_seeds])
        assert [run.name for run in runs][:4] == ["grpo/seed_0", "grpo/seed_1", "grpo/seed_2", "mcpo/seed_0"]
        assert [run.name for run in runs][-2:] == ["single/seed_2/code", "single/seed_2/math"]
        groups = families(runs)
        assert [group.name for group in groups] == ["grpo", "mcpo", "single"]
        assert groups[2].series("domain/math/accuracy") == ([10, 20], pytest.approx([0.3, 0.3]))

    def test_the_summary_is_by_method_and_not_by_run(self, three_seeds: Path) -> None:
        found = overview(load_runs([three_seeds]))
        assert found.title == "methods" and [card.name for card in found.cards] == ["GRPO", "MCPO", "single-domain"]
        assert found.sentences == tuple(headlines(read_comparison(three_seeds)))
        assert "went from 0.250 to 0.683 (by seed 0.650, 0.750, 0.650)." in found.cards[1].sentences[0]
        assert found.groups == (), "accuracy is in the section of the comparison"

    def test_a_method_has_one_colour(self, three_seeds: Path, two_runs: list[Path]) -> None:
        groups = families(load_runs([two_runs[0], three_seeds]))
        (section,) = comparison_sections(groups)
        panel = section.groups[1].panels[0]
        colours = [trace["marker"]["color"] for trace in panel.figure["data"] if "text" in trace]
        assert colours == [run_line(place)["color"] for place in (1, 2, 3)]

    def test_rollouts_come_with_the_first_seed_of_each_method(self, tmp_path: Path) -> None:
        path = make_comparison(tmp_path / "c", (0, 1))
        for name in ("grpo/seed_0", "grpo/seed_1", "single/seed_0/math"):
            RunDirectory.open(path / "runs" / name).write_rollouts(rollouts(10, 10, head=False, seed=0, count=6))
        runs = {run.name: run for run in load_runs([path])}
        assert len(runs["grpo/seed_0"].rollouts) == 1 and runs["grpo/seed_1"].rollouts == []
        assert runs["single/seed_0/math"].rollouts == [] and runs["single/seed_0/math"].kept_steps == 1

    def test_under_way(self, three_seeds: Path, tmp_path: Path) -> None:
        path = make_comparison(tmp_path / "c", (0,))
        (path / "comparison.json").unlink()
        groups = families(load_runs([path]))
        (section,) = comparison_sections(groups)
        assert section.empty and "under way" in section.missing
        assert [card.name for card in overview(load_runs([path])).cards][:2] == ["grpo/seed_0", "mcpo/seed_0"]

    def test_a_comparison_without_a_run(self, tmp_path: Path) -> None:
        (tmp_path / "comparison.yaml").write_text("methods: [grpo]\n")
        with pytest.raises(RunError, match="a comparison in which no run has begun"):
            load_runs([tmp_path])

    def test_a_run_named_beside_its_comparison(self, three_seeds: Path) -> None:
        with pytest.raises(RunError, match="more than once"):
            load_runs([three_seeds, three_seeds / "runs/grpo/seed_0"])
