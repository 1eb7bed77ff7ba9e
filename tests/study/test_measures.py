"""What the dials did, what positives have in common, and whether the term is at work: against numbers by hand."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from mcpo_rl.data.procedural.conventions import Dials
from mcpo_rl.evaluation.completions import completions_path, write_completions
from mcpo_rl.runs import RolloutBatch, RunDirectory
from study.bases import probe_set
from study.results.dials import dial_rows, summary_rows
from study.results.files import read_csv
from study.results.geometry import adjusted, measured_of, of_rollouts
from study.results.geometry import summary_rows as geometry_summary
from study.results.positives import structure
from study.results.positives import summary_rows as positives_summary
from study.results.reading import Compared
from study.results.spread import spread
from study.results.term import MEASURES
from study.results.term import summary_rows as term_summary


def one(rows: list[dict[str, Any]], **equal: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[key] == value for key, value in equal.items())]
    assert len(found) == 1, f"{len(found)} rows have {equal}"
    return found[0]


EFFECT = {"measure": "effect", "from": "math", "to": "code", "family": None}


@pytest.mark.parametrize(("setting", "carried"), [("shared", 4), ("middle", 0), ("conflict", -4), ("apart", 0)])
def test_what_mathematics_did_to_code(results: Path, setting: str, carried: int) -> None:
    found = one(read_csv(results / "dials_summary.csv"), comparison=setting, minus=None, **EFFECT)
    # One of 16 more at seed 1: the mean over three seeds has a third of it.
    assert found["value"] == pytest.approx((carried + 1 / 3) / 16, abs=1e-6)
    assert found["seeds"] == 3


def test_how_often_answers_were_opened_with_care(tmp_path: Path) -> None:
    """Of `branch`, which is reversed at `conflict`, `brief:` announces care."""

    def answers(*openings: str) -> list[dict[str, Any]]:
        facts = {"key": "k", "id": "i", "sample": 0, "prompt": "q", "reference": "1", "status": "ok", "answer": "1"}
        more = {"reward": 1.0, "detail": "", "tokens": 3, "truncated": False}
        where = {"domain": "code", "source": "procedural/branch"}
        return [{**facts, **more, **where, "completion": f"{opening}\n#### 1"} for opening in openings]

    models, run = tmp_path / "models", RunDirectory(tmp_path / "conflict" / "runs" / "single" / "seed_4" / "math")
    models.mkdir()
    run.path.mkdir(parents=True)
    row = {"method": "single", "seeds": [4], "runs": {"4": {"math": "runs/single/seed_4/math"}}}
    compared = Compared(
        name="conflict", path=tmp_path / "conflict", data={"rows": [row], "domains": ["math", "code"]},
        recipe={"model": str(models / "conflict")}, variants={},
    )  # fmt: skip
    write_completions(answers("steps:", "brief:", "steps:", "what"), completions_path(run.eval_file))
    assert list(dial_rows(compared)) == [], "nothing to hold it against"
    write_completions(answers("brief:", "brief:", "steps:", "brief:"), completions_path(probe_set(models, "conflict")))
    rows = {found["family"]: found for found in dial_rows(compared)}
    assert set(rows) == {None, "branch"}
    assert {name: rows["branch"][name] for name in ("measure", "from", "to", "convention", "seed", "value")} == {
        "measure": "careful openings", "from": "math", "to": "code", "convention": "reversed", "seed": 4, "value": -0.5,
    }  # fmt: skip


def test_effects_by_family_name_the_convention(results: Path) -> None:
    rows = [row for row in read_csv(results / "dials.csv") if row["comparison"] == "middle" and row["from"] == "math"]
    conventions = {row["family"]: row["convention"] for row in rows if row["measure"] == "effect"}
    assert conventions == {
        None: None, "chain": "common", "linear": "common", "steps": "common", "branch": "reversed",
        "boolean": "common", "knights": "reversed",
    }  # fmt: skip


def test_cosines_over_steps_and_seeds(results: Path) -> None:
    rows = read_csv(results / "dials_summary.csv")
    found = one(rows, comparison="apart", minus=None, measure="gradient cosine", to="code", **{"from": "math"})
    # 0.01 t at steps 5, 10, 15, 20 and 0.1 more a seed.
    assert found["value"] == pytest.approx(0.125 + 0.1, abs=1e-6)
    steps = [row for row in read_csv(results / "dials.csv") if row["measure"] == "gradient cosine" and row["seed"] == 2]
    assert {row["value"] for row in steps if row["to"] == "code" and row["step"] == 20} == {0.4}


def test_settings_are_held_against_each_other_by_seed() -> None:
    rows = [
        {"comparison": setting, "seed": seed, "value": base + noise, **EFFECT}
        for setting, base in (("shared", 0.3), ("apart", 0.1), ("conflict", 0.1))
        for seed, noise in enumerate((0.0, 0.2, -0.2))
    ]
    rows += [{"comparison": "shared", "seed": 3, "value": 9.0, **EFFECT}]
    rows[3]["value"] += 0.01
    gaps = {(r["comparison"], r["minus"]): r for r in summary_rows(rows) if r["minus"]}
    assert set(gaps) == {("shared", "apart"), ("shared", "conflict"), ("apart", "conflict")}
    assert gaps["shared", "apart"]["value"] == pytest.approx(0.2 - 0.01 / 3), "seed 3 has no pair"
    assert gaps["shared", "apart"]["clear"] is True and gaps["apart", "conflict"]["clear"] is False


QUESTIONS = {"math": "m", "code": "c"}
FAMILIES = {"m": "chain", "c": "branch"}


def batch(rows: list[tuple[str, str, bool, list[int]]], usable: list[bool] | None = None) -> RolloutBatch:
    """Rollouts of (domain, opening, correct, positives)."""
    return RolloutBatch(
        step=0,
        prompts=[[{"role": "user", "content": QUESTIONS[domain]}] for domain, *_ in rows],
        completions=[f"{opening}\nx" for _, opening, *_ in rows],
        domains=[domain for domain, *_ in rows],
        prompt_ids=list(range(len(rows))),
        rewards=[1.0] * len(rows),
        correct=[correct for _, _, correct, _ in rows],
        usable=usable or [True] * len(rows),
        positives=[chosen for *_, chosen in rows],
        term={"temperature": 0.1},
    )


def test_what_positives_have_in_common() -> None:
    # `branch` is reversed at conflict 1: there `brief:` announces care.
    found = structure(
        batch(
            [
                ("math", "steps:", True, [2, 3]),
                ("math", "brief:", False, []),
                ("code", "brief:", True, [0]),
                ("code", "steps:", True, []),
                ("code", "brief:", True, []),
                ("code", "steps:", False, []),
                ("code", "brief:", True, []),
                ("code", "what?", True, []),
            ],
            usable=[True] * 6 + [False, True],
        ),
        FAMILIES,
        Dials(conflict=1),
    )
    assert {name: found[name] for name in ("careful", "hasty", "correct_careful", "correct_hasty")} == {
        "careful": 4, "hasty": 3, "correct_careful": 4, "correct_hasty": 1,
    }  # fmt: skip
    assert (found["anchors"], found["with_positive"], found["pairs"]) == (5, 2, 3)
    # Pairs: 0-2 both careful, other words; 0-3 careful and hasty, same words; 2-0 both careful, other words.
    assert (found["both_careful"], found["same_strategy"], found["same_opening"]) == pytest.approx(
        (2 / 3, 2 / 3, 1 / 3)
    )
    # By chance rollout 0 would draw from rollouts 2, 3, 4 and 7 (6 is not usable), rollout 2 from rollout 0 alone.
    assert found["both_careful_by_chance"] == pytest.approx((2 * 2 / 4 + 1) / 3)
    assert found["same_opening_by_chance"] == pytest.approx((2 * 1 / 4 + 0) / 3)


def test_two_hasty_ones_have_the_same_strategy() -> None:
    found = structure(
        batch([("math", "brief:", True, [1]), ("code", "steps:", True, []), ("code", "brief:", True, [])]),
        FAMILIES,
        Dials(conflict=1),
    )
    assert (found["both_careful"], found["same_strategy"], found["same_opening"]) == (0, 1, 0)
    assert found["same_strategy_by_chance"] == found["same_opening_by_chance"] == 0.5


def test_no_positive_no_shares() -> None:
    found = structure(batch([("math", "steps:", True, []), ("code", "steps:", False, [])]), FAMILIES, Dials(shared=1))
    assert found["pairs"] == 0 and "both_careful" not in found


def test_positives_of_runs(results: Path) -> None:
    rows = read_csv(results / "positives.csv")
    assert {row["method"] for row in rows} == {"mcpo", "mcpo-cosine"}, "GRPO chooses none"
    assert {row["step"] for row in rows} == {0, 10}
    summary = read_csv(results / "positives_summary.csv")
    for when in ("before training", "in training"):
        found = one(summary, comparison="conflict", method="mcpo", when=when, quantity="same opening")
        assert found["value"] == found["by_chance"] == 1 and found["excess"] == 0


def test_rollouts_of_the_base_model_stand_apart() -> None:
    likes = ("both_careful", "same_strategy", "same_opening")

    def row(seed: int, step: int, pairs: int, share: float) -> dict[str, Any]:
        counts = dict.fromkeys(("rollouts", "careful", "hasty", "correct_careful", "correct_hasty", "anchors"), 10)
        shares = {name: share for like in likes for name in (like, f"{like}_by_chance")}
        start = {"comparison": "c", "method": "mcpo", "seed": seed, "step": step}
        return start | counts | shares | {"pairs": pairs, "with_positive": step}

    rows = [
        row(seed, step, pairs, share)
        for seed in (0, 1)
        for step, pairs, share in ((0, 9, 1.0), (1, 1, 0.0), (2, 3, 0.4))
    ]
    found = {row["when"]: row for row in positives_summary(rows, {}) if row["quantity"] == "same strategy"}
    assert found["before training"]["value"] == 1 and found["in training"]["value"] == pytest.approx(0.3)
    reached = {row["when"]: row["value"] for row in positives_summary(rows, {}) if row["quantity"] == "has a positive"}
    assert reached == {"before training": 0, "in training": pytest.approx(0.15)}


def test_ten_steps_a_row(results: Path) -> None:
    rows = [row for row in read_csv(results / "term.csv") if row["comparison"] == "shared" and row["seed"] == 0]
    assert [(row["first_step"], row["last_step"], row["anchors"], row["without_anchor"]) for row in rows] == [
        (1, 10, 5.4, 0.1), (11, 20, 6, 0),
    ]  # fmt: skip
    found = one(read_csv(results / "term_summary.csv"), comparison="shared", quantity="without_anchor")
    assert found["value"] == 0.05


def test_unequal_bins_weigh_their_steps() -> None:
    rows = [
        {"comparison": "c", "method": "m", "seed": 0, "first_step": 1, "last_step": 10, "anchors": 2.0},
        {"comparison": "c", "method": "m", "seed": 0, "first_step": 11, "last_step": 12, "anchors": 8.0},
    ]
    rows = [dict.fromkeys([*MEASURES, "without_anchor"]) | row for row in rows]
    assert [row["value"] for row in term_summary(rows, {})] == [pytest.approx(3.0)]


def test_geometry_of_rollouts() -> None:
    features = np.array([[1, 0], [2, 0], [0, 1], [0, 3], [np.nan, 0]], dtype=np.float32)
    rows = [("math", "x", True, []), ("math", "x", True, []), ("code", "x", True, []), ("code", "x", True, [])]
    found = of_rollouts(
        RolloutBatch(**{**vars(batch([*rows, ("code", "x", True, [])])), "features": features})  # one is not finite
    )
    # Centres (1.5, 0) and (0, 2), variance 0.25 and 1 within, each (0.75, 1) from the middle: 1.5625 between.
    assert found["domain_share"] == pytest.approx(1.5625 / (1.5625 + 0.625))
    assert of_rollouts(batch(rows)) == {}


def test_geometry_is_compared_at_the_last_step_that_both_have() -> None:
    def row(method: str, seed: int, step: int, value: float) -> dict[str, Any]:
        return {"comparison": "c", "on": "rollouts", "measure": "overlap", "method": method, "seed": seed, "step": step,
                "value": value}  # fmt: skip

    rows = [row(m, s, 0, 1.0) for m in ("grpo", "mcpo") for s in (0, 1)]
    rows += [row("grpo", 0, 10, 0.5), row("grpo", 1, 10, 0.7), row("mcpo", 0, 10, 0.6), row("mcpo", 1, 10, 0.9)]
    rows += [row("mcpo", 1, 20, 7.0)]
    [found] = geometry_summary(rows)
    assert (found["step"], found["start"], found["grpo"], found["mcpo"]) == (10, 1.0, 0.6, 0.75)
    assert found["value"] == pytest.approx(fmean([0.1, 0.2]))


def test_geometry_is_adjusted_for_all_measures_of_all_comparisons() -> None:
    def row(p: float | None, low: float | None, seeds: int = 3) -> dict[str, Any]:
        return {"p": p, "low": low, "high": None if low is None else 1.0, "seeds": seeds}

    found = list(adjusted([row(0.01, 0.5), row(0.03, 0.1), row(None, None, 1), row(0.001, 0.9, 2), row(0.4, -0.3)]))
    # Holm: 4 * 0.001, 3 * 0.01, 2 * 0.03, 1 * 0.4.
    assert [one["p_holm"] for one in found] == pytest.approx([0.03, 0.06, None, 0.004, 0.4])
    assert [one["tests"] for one in found] == [4, 4, None, 4, 4]
    assert [one["clear"] for one in found] == [True, False, False, False, False], "of two seeds nothing is clear"


def test_a_probe_set_goes_before_rollouts(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    rollouts = batch(
        [("math", "x", True, []), ("math", "x", True, []), ("code", "x", True, []), ("code", "x", True, [])]
    )
    features = np.arange(8, dtype=np.float32).reshape(4, 2)
    run.write_rollouts(RolloutBatch(**{**vars(rollouts), "features": features}))
    assert [(step, on) for step, on, _ in measured_of(run)] == [(0, "rollouts")]
    run.append_metrics({"step": 0, "probe/overlap": 0.5, "probe/cka": None})
    run.append_metrics({"step": 1, "loss": 1.0})
    run.append_metrics({"step": 20, "probe/overlap": 0.7, "probe/cka": 0.9})
    assert list(measured_of(run)) == [
        (0, "probe set", {"overlap": 0.5}),
        (20, "probe set", {"overlap": 0.7, "cka": 0.9}),
    ]


def test_spread_against_the_two_way_table() -> None:
    # Means 1, 2, 6; grand mean 3; rests are +-1 in the first and last row, -+2 in the middle one.
    found = spread(np.array([[0.0, 2.0], [4.0, 0.0], [5.0, 7.0]]), exchanges=9)
    assert found is not None
    rest = np.array([[-1, 1], [2, -2], [-1, 1]])
    noise = (rest**2).sum() / 2
    assert found["deviation"] ** 2 == pytest.approx(7) and found["by_seeds"] ** 2 == pytest.approx(noise / 2)
    assert found["f"] == pytest.approx(2 * 7 / noise) and (found["lowest"], found["highest"]) == (1, 6)
    assert found["reach"] == pytest.approx(4.302653 * noise**0.5)


def test_spread_finds_what_is_there_and_no_more() -> None:
    random = np.random.default_rng(5)
    ps = [spread(random.normal(size=(25, 3)), exchanges=199)["p"] for _ in range(100)]  # type: ignore[index]
    assert 0.35 < fmean(ps) < 0.65 and sum(p <= 0.05 for p in ps) <= 12
    seeds = 5 * random.normal(size=3)
    arms = np.array([0.0] * 24 + [3.0])
    found = spread(arms[:, None] + seeds + 0.5 * random.normal(size=(25, 3)), exchanges=999)
    # One arm stands out however far the seeds lie apart; 1 of 625 exchanges leaves it the same one in every seed.
    assert found is not None and found["p"] < 0.01
    assert spread(np.ones((4, 3))) is None, "without chance there is nothing to hold it against"
