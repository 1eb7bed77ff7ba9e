"""The files of `results/` against numbers worked out by hand, and what must not be in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.cli.machine import cpu_name
from mcpo_rl.errors import RunError
from study.plan import ROOM, SETTINGS
from study.results.collecting import collect
from study.results.differences import HEADLINE_SETTINGS, headline_rows
from study.results.files import read_csv, without_paths, write_csv
from study.results.parting import parting_rows
from study.results.reading import Compared, read_comparisons


def one(rows: list[dict[str, Any]], **equal: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[key] == value for key, value in equal.items())]
    assert len(found) == 1, f"{len(found)} rows have {equal}"
    return found[0]


def test_every_seed(results: Path) -> None:
    rows = read_csv(results / "seeds.csv")
    # 8 + 4 + 1 + 1 of 16 right; accuracies 0.2 + 0.03 t over 20 steps; GRPO's mean of two steps begins at 0.23 and
    # ends at 0.59, so the target is 0.41, which 0.2 + 0.03 (t - 1/2) reaches at step 8.
    found = one(rows, comparison="shared", method="mcpo", seed=1, domain="code")
    assert (found["start"], found["final"], found["gain"]) == (0.5, 0.875, 0.375)
    assert (found["auc"], found["steps_to_target"], found["rollouts"]) == (0.515, 8, 160)
    assert found["tokens"] is found["seconds"] is None, "a run on the mixture has them for all domains together"
    mean = one(rows, comparison="shared", method="mcpo", seed=1, domain="mean")
    assert (mean["final"], mean["rollouts"], mean["tokens"], mean["seconds"]) == (0.875, 480, 2000, 10)
    # Of specialists, each domain's is its own run; all together are the sum.
    assert one(rows, comparison="shared", method="single", seed=0, domain="math")["tokens"] == 2000
    assert one(rows, comparison="shared", method="single", seed=0, domain="mean")["tokens"] == 6000


def test_learning_curves(results: Path) -> None:
    rows = read_csv(results / "middle" / "curves.csv")
    assert len(rows) == 3 * 3 * 3 * 20
    assert one(rows, method="grpo", seed=2, domain="logic", step=7)["accuracy"] == pytest.approx(0.34)


def test_differences(results: Path) -> None:
    rows = read_csv(results / "differences.csv")
    # MCPO minus GRPO is 1, 2 and 1 of 16: 1/12 on average, standard deviation 1/16 / sqrt(3), t(2) = 4.3027.
    found = one(rows, comparison="shared", method="mcpo", minus="grpo", quantity="accuracy", domain="mean")
    half = 4.302653 * (1 / 16 / 3**0.5) / 3**0.5
    assert found["value"] == pytest.approx(1 / 12, abs=1e-6)
    assert (found["low"], found["high"]) == pytest.approx((1 / 12 - half, 1 / 12 + half), abs=1e-6)
    assert (found["seeds"], found["better"], found["tests"], found["clear"]) == (3, 3, 2, False)
    worst = one(rows, comparison="shared", method="mcpo", minus="grpo", quantity="worst-domain gain", domain="mean")
    assert worst["value"] == pytest.approx(1 / 12, abs=1e-6)


def test_the_headline_is_corrected_over_the_settings(results: Path) -> None:
    rows = [row for row in read_csv(results / "headline.csv") if row["quantity"] == "accuracy"]
    *settings, together = rows
    assert [row["comparison"] for row in settings] == ["shared", "middle", "conflict"], "`apart` has no MCPO"
    assert all(row["p_holm"] == pytest.approx(3 * row["p"], abs=1e-5) for row in settings)
    assert (together["comparison"], together["seeds"], together["tests"]) == ("mean of the settings", 3, 2)
    assert together["p_holm"] == pytest.approx(2 * together["p"], abs=1e-5), "areas, where seeds agree, have no p"


def test_settings_together_are_paired_by_seed() -> None:
    gaps = {"shared": [0.3, 0.0, 0.1], "middle": [0.0, 0.3, 0.1], "conflict": [0.0, 0.0, 0.2]}
    rows = headline_rows([_compared(name, own, (-1, 1)) for name, own in gaps.items()])
    found = one([dict(row) for row in rows], comparison="mean of the settings", quantity="accuracy")
    assert (found["value"], found["seeds"], found["better"]) == (pytest.approx(1 / 9), 3, 3)
    # Of every seed 0.1, 0.1 and 0.4 / 3, with standard deviation 0.1 / 3 / sqrt(3): t is 10 with 2 degrees of freedom.
    assert found["p"] == pytest.approx(0.00985, abs=1e-5)
    # The worst-domain gain is the same numbers here: two tests of one p.
    assert (found["tests"], found["p_holm"]) == (2, pytest.approx(2 * found["p"]))
    two = headline_rows([_compared(name, gaps[name], (-1, 1)) for name in ("shared", "middle")])
    assert not any(row["comparison"] == "mean of the settings" for row in two), "only of all"


def test_the_settings_with_room_are_a_family_of_their_own() -> None:
    gaps = {name: [0.1, 0.2, 0.25] for name in (*HEADLINE_SETTINGS["mean of the settings"], *ROOM)}
    found = [dict(row) for row in headline_rows([_compared(name, own, (-1, 1)) for name, own in gaps.items()])]
    own = [row for row in found if row["quantity"] == "accuracy"]
    families = [[*settings, together] for together, settings in HEADLINE_SETTINGS.items()]
    assert [row["comparison"] for row in own] == [name for family in families for name in family]
    # Three settings of one p each: adjusted for three, not for six.
    assert all(row["p_holm"] == pytest.approx(3 * row["p"]) for row in own if row["comparison"] in gaps)


def _compared(name: str, gaps: list[float], problems: tuple[float, float]) -> Compared:
    """A result in which MCPO minus GRPO is `gaps`, with that interval over the problems."""

    def estimate(values: list[float]) -> dict[str, Any]:
        return {"seeds": {str(seed): value for seed, value in enumerate(values)}, "over": "seeds"}

    mean = {**estimate(gaps), "problems": {"low": problems[0], "high": problems[1]}}
    rows = [
        {"method": "grpo", "seeds": [0], "worst_domain_gain": estimate([0.0] * len(gaps)), "against": None},
        {"method": "mcpo", "seeds": [0], "worst_domain_gain": estimate(gaps), "against": {"mean": mean}},
    ]
    data = {"rows": rows, "reference": "grpo", "domains": []}
    return Compared(name=name, path=Path(name), data=data, recipe={}, variants={})


def test_a_clear_headline_needs_both_intervals() -> None:
    up, mixed = [0.10, 0.11, 0.12, 0.10], [0.1, -0.1, 0.05, -0.05]
    compared = [_compared("shared", up, (0.02, 0.2)), _compared("middle", up, (-0.1, 0.3))]
    rows = headline_rows([*compared, _compared("conflict", mixed, (0.1, 0.2))])
    found = {(row["comparison"], row["quantity"]): row["clear"] for row in rows}
    assert found["shared", "accuracy"]
    assert not found["middle", "accuracy"], "over the problems it could be 0"
    assert not found["conflict", "accuracy"]
    assert found["middle", "worst-domain gain"], "of which there is no interval over problems"


def test_the_same_runs_give_the_same_bytes_and_no_paths(runs: Path, results: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    collect(runs, again)
    files = sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    assert files == sorted(f.relative_to(results) for f in results.rglob("*") if f.is_file())
    for file in files:
        text = (again / file).read_text(encoding="utf-8")
        assert text == (results / file).read_text(encoding="utf-8"), file
        for word in (str(runs), "/somewhere", "some-host", "created"):
            assert word not in text, f"{word} in {file}"


def test_machine_and_models(results: Path) -> None:
    shared = json.loads((results / "machine.json").read_text())["comparisons"]["shared"]
    assert shared == {
        "cpu": cpu_name(), "runs": 15, "cores": [4], "system": ["Linux x86_64"], "python": ["3.11.7"],
        "packages": {"torch": "2.13.0", "trl": "1.16.0"},
    }  # fmt: skip
    assert json.loads((results / "models" / "conflict.json").read_text())["config"]["start"] == "skill"


def test_dials_come_from_the_models_manifest(runs: Path) -> None:
    comparisons, remarks = read_comparisons(runs)
    assert remarks == []
    assert {c.name: c.dials for c in comparisons} == dict(SETTINGS)


def test_comparisons_that_ran_elsewhere_stay(
    making: Callable[[Path, Iterable[str]], None], results: Path, tmp_path: Path
) -> None:
    """Written in two parts, each from the runs of some comparisons, `results/` is what one writing makes of all."""
    out = tmp_path / "out"
    for part in (("middle", "apart"), ("shared", "conflict")):
        making(tmp_path / part[0], part)
        said = collect(tmp_path / part[0], out)
    assert [remark.split(" stays")[0] for remark in said] == [str(out / "middle"), str(out / "apart")]
    files = sorted(file.relative_to(out) for file in out.rglob("*") if file.is_file())
    assert files == sorted(f.relative_to(results) for f in results.rglob("*") if f.is_file())
    for file in files:
        assert (out / file).read_text(encoding="utf-8") == (results / file).read_text(encoding="utf-8"), file


def test_when_rollouts_part(tmp_path: Path) -> None:
    columns = ("method", "seed", "domain", "step", "accuracy")
    curves = {
        ("grpo", 0): [0.1, 0.2, 0.3], ("grpo", 1): [0.1, 0.1, 0.1],
        ("mcpo", 0): [0.1, 0.2, 0.4], ("mcpo", 1): [0.1, 0.1, 0.1], ("mcpo", 2): [0.5, 0.5, 0.5],
        ("single", 0): [0.0, 0.2, 0.3],
    }  # fmt: skip
    rows = [
        {"method": method, "seed": seed, "domain": domain, "step": step, "accuracy": value + (domain == "code")}
        for (method, seed), values in curves.items()
        for domain in ("math", "code")
        for step, value in enumerate(values, 1)
    ]
    write_csv(tmp_path / "curves.csv", columns, rows)
    compared = _compared("shared", [0.0], (0, 1))
    compared.data["rows"].append({"method": "single", "seeds": [0]})
    mcpo, single = parting_rows(compared, tmp_path / "curves.csv")
    assert mcpo == {
        "comparison": "shared", "method": "mcpo", "seeds": 2, "first": 3, "median": 3, "last": 3, "never": 1,
        "steps": 3,
    }, "seed 2 has no run of GRPO"  # fmt: skip
    assert (single["first"], single["never"]) == (1, 0)


def test_means_of_kept_comparisons_keep_their_digits(runs: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(results, out)
    rows = read_csv(out / "dials.csv")
    write_csv(out / "dials.csv", list(rows[0]), [{**row, "value": round(row["value"], 1)} for row in rows])
    for name in ("apart", "models"):
        shutil.copytree(runs / name, tmp_path / "runs" / name)
    collect(tmp_path / "runs", out)
    before, after = (
        {tuple(list(row.values())[:7]): row["value"] for row in read_csv(folder / "dials_summary.csv")}
        for folder in (results, out)
    )
    assert list(before) == list(after)
    changed = {key[:2] for key, value in after.items() if value != before[key]}
    assert changed == {("shared", "apart"), ("apart", "conflict")}, "those alone needed the table"
    (out / "dials_summary.csv").unlink()
    collect(tmp_path / "runs", out)
    again = {tuple(list(row.values())[:7]) for row in read_csv(out / "dials_summary.csv")}
    assert again == set(before), "what is not there is worked out from the table"


def test_a_comparison_whose_folder_is_removed_leaves_the_tables(runs: Path, results: Path, tmp_path: Path) -> None:
    here, out = tmp_path / "runs", tmp_path / "out"
    shutil.copytree(runs / "apart", here / "apart")
    (here / "begun").mkdir()
    (here / "begun" / "comparison.yaml").write_text("methods: [grpo]\n")
    shutil.copytree(results, out)
    shutil.rmtree(out / "middle")
    said = collect(here, out)
    assert any("begun has no comparison.json" in remark for remark in said)
    for table in ("seeds", "differences", "dials", "positives_summary", "term", "geometry"):
        names = {row["comparison"] for row in read_csv(out / f"{table}.csv")}
        assert "middle" not in names and "conflict" in names, table
    assert "middle" not in json.loads((out / "machine.json").read_text())["comparisons"]


def test_kept_numbers_are_never_overwritten_unread(runs: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(results, out)
    shutil.copytree(runs / "apart", tmp_path / "runs" / "apart")
    (out / "middle" / "comparison.yaml").write_text("recipe\n")
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=r"middle.comparison\.yaml is damaged .*Restore it, or remove its folder"):
        collect(tmp_path / "runs", out)
    (out / "middle" / "comparison.json").write_text("[]")
    with pytest.raises(RunError, match=r"middle.comparison\.json is not the result .*Restore it"):
        collect(tmp_path / "runs", out)
    before[out / "middle" / "comparison.json"] = b"[]"
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no comparison with a finished run"):
        collect(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_result(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "apart", tmp_path / "apart")
    (tmp_path / "apart" / "comparison.json").write_text('{"format": ')
    with pytest.raises(RunError, match=r"comparison\.json is damaged .*--plan"):
        collect(tmp_path, tmp_path / "out")


def test_csv_there_and_back(tmp_path: Path) -> None:
    rows = [{"name": "a, b", "count": 3, "share": 0.12345678, "clear": True, "none": None}, {"share": float("nan")}]
    write_csv(tmp_path / "t.csv", ["name", "count", "share", "clear", "none"], rows)
    assert (tmp_path / "t.csv").read_text() == 'name,count,share,clear,none\n"a, b",3,0.123457,yes,\n,,,,\n'
    first = {"name": "a, b", "count": 3, "share": 0.123457, "clear": True, "none": None}
    assert read_csv(tmp_path / "t.csv")[0] == first
    write_csv(tmp_path / "t.csv", ["x"], [{"x": -1e-9}, {"x": 12.0}, {"x": 100.0}])
    assert (tmp_path / "t.csv").read_text() == "x\n0\n12\n100\n", "no minus zero, no zeros lost"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("from /data/study/models/middle with", "from models/middle with"),
        ("log in /home/me/x/y.log", "log in y.log"),
        ("runs/mcpo/seed_0 and 3/4, 1 / 2", "runs/mcpo/seed_0 and 3/4, 1 / 2"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_paths_of_the_machine(text: str, clean: str) -> None:
    assert without_paths(text, Path("/data/study")) == clean
