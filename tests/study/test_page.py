"""docs/results.md: written from `results/` alone, and sentences that turn with the numbers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.errors import RunError
from study.results import figures
from study.results.differences import ROOM_TOGETHER
from study.results.figures import FIGURES
from study.results.files import read_csv, write_csv
from study.results.numbers import Results, estimate, signed
from study.results.page import BLOCKS, PAGE, filled, write_page
from study.results.page import FIGURES as SHOWN
from study.results.verdicts import NONE, claims, dials, headline, headroom, methods, positives, term

ROOT = PAGE.parents[1]


def test_the_page_is_what_the_results_say() -> None:
    """Of the repository as it stands: nobody wrote a number by hand, and none is older than `results/`."""
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, Results(ROOT / "results")) == text, "`python -m study page` writes it anew"


def test_every_block_and_figure_has_its_place() -> None:
    begun = re.findall(r"<!-- begin: ([\w-]+) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(begun) == sorted([*BLOCKS, *(f"figure-{name}" for name in SHOWN)])
    assert list(FIGURES) and set(FIGURES) == set(SHOWN)


def test_no_number_of_a_table_is_written_outside_of_the_blocks() -> None:
    text = re.sub(r"<!-- begin: ([\w-]+) -->.*?<!-- end: \1 -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.findall(r"(?<!\d)\d\.\d{3}(?!\d)", text), "accuracies and differences are generated"


def test_every_number_on_the_page_is_in_the_results(results: Path) -> None:
    known = set()
    for file in results.rglob("*.csv"):
        with file.open(newline="") as rows:
            known |= {_rounded(cell) for row in csv.reader(rows) for cell in row if _is_number(cell)}
    for file in results.rglob("*.json"):
        known |= {_rounded(number) for number in re.findall(r"-?\d+\.?\d*(?:e-\d+)?", file.read_text())}
    for name, write in BLOCKS.items():
        text = write(Results(results))
        for number in re.findall(r"(?<![\w.])[+-]?\d\.\d{3}(?!\d)", text):
            assert _rounded(number) in known, f"{number} in {name}"


def test_each_block_reads_the_files(results: Path, tmp_path: Path) -> None:
    """A number changed in a file changes the page."""
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    before = {name: write(Results(copy)) for name, write in BLOCKS.items()}
    for name in ("headline", "differences", "dials_summary", "positives_summary", "term_summary", "geometry_summary"):
        _change(copy / f"{name}.csv", lambda row: {**row, "value": 0.777} if row["value"] is not None else row)
    for name in ("shared", "middle"):
        file = copy / name / "comparison.json"
        file.write_text(re.sub(r'"value": 0\.\d+', '"value": 0.777', file.read_text()))
    machine = json.loads((copy / "machine.json").read_text())
    machine["comparisons"]["shared"]["runs"] = 99
    (copy / "machine.json").write_text(json.dumps(machine))
    same = {name for name, write in BLOCKS.items() if write(Results(copy)) == before[name]}
    # Of the sweep, the LLM and the settings with room there are no runs here; the headroom is still there.
    unrun = {name for part in ("sweep", "fresh", "fresh-conflict", "smollm2") for name in (part, f"{part}-verdict")}
    unrun |= {"sweep-spread", "fresh-conflict-domains", "smollm2-accuracies", "smollm2-domains"}
    assert same == {*unrun, *(name for name in BLOCKS if name.startswith("room-")), "headroom-verdict"}


def test_scorers_are_shown_where_both_were_run(results: Path) -> None:
    lines = BLOCKS["scorers"](Results(results)).splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| conflict", "MCPO", "3"], ["| conflict", "MCPO, plain cosine", "3"],
    ]  # fmt: skip


def test_writing_the_page(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.md"
    write_page(results, page)
    text = page.read_text()
    assert "| shared | start |" in text and "Does MCPO beat" not in text
    write_page(results, page)
    assert page.read_text() == text
    page.write_text("<!-- begin: headlines -->\n<!-- end: headlines -->\n")
    with pytest.raises(RunError, match="block `headlines`, which is not known"):
        write_page(results, page)
    page.write_text("<!-- begin: headline -->\n<!-- end: headlin -->\n")
    with pytest.raises(RunError, match="`headline` does not end"):
        write_page(results, page)
    with pytest.raises(RunError, match="holds no results"):
        write_page(tmp_path / "nothing", page)


def test_figures(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", {name: FIGURES[name] for name in ("effects", "sweep")})
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    (copy / "figures").mkdir()
    (copy / "figures" / "sweep.svg").write_text("of runs that are gone")
    written = figures.write_figures(copy)
    assert {file.name for file in written} == {"effects.svg"}
    assert not (copy / "figures" / "sweep.svg").exists()
    before = {file: file.read_bytes() for file in written}
    figures.write_figures(copy)
    assert {file: file.read_bytes() for file in written} == before
    page = tmp_path / "docs" / "page.md"
    write_page(copy, page)
    assert "](../results/figures/effects.svg)" in page.read_text() and "figures/sweep" not in page.read_text()


@pytest.mark.slow
def test_every_figure(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    middle = read_csv(copy / "differences.csv")
    sweep = [{**row, "comparison": "sweep"} for row in middle if row["comparison"] == "middle"]
    write_csv(copy / "differences.csv", list(middle[0]), [*middle, *sweep])
    shutil.copytree(copy / "middle", copy / "room-middle")
    written = figures.write_figures(copy)
    assert {file.name for file in written} == {f"{name}.{kind}" for name in SHOWN for kind in ("png", "svg")}
    before = {file: file.read_bytes() for file in written}
    figures.write_figures(copy)
    assert {file: file.read_bytes() for file in written} == before


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("effects", "sweep")])
def test_figures_without_data_are_left_out(name: str, tmp_path: Path) -> None:
    assert FIGURES[name](Results(tmp_path)) is None


def _change(path: Path, turn: Any) -> None:
    rows = read_csv(path)
    write_csv(path, list(rows[0]), [turn(row) for row in rows])


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(results, folder)
    return folder


@pytest.mark.parametrize(
    ("value", "clear", "seeds", "said"),
    [
        (0.02, True, 8, "MCPO is better than GRPO at `shared`, `middle` and `conflict`.**"),
        (-0.02, True, 8, "MCPO is worse than GRPO at `shared`, `middle` and `conflict`.**"),
        (0.02, False, 8, "MCPO cannot be told from GRPO at any of the settings.**"),
    ],
)
def test_the_headline_turns_with_the_numbers(copy: Path, value: float, clear: bool, seeds: int, said: str) -> None:
    _change(copy / "headline.csv", lambda row: {**row, "value": value, "clear": clear, "seeds": seeds})
    assert said in headline(Results(copy)).splitlines()[0]


def test_a_mixed_headline(copy: Path) -> None:
    better = {"shared": 0.1, "middle": -0.1}
    _change(
        copy / "headline.csv",
        lambda row: {**row, "value": better.get(row["comparison"], 0.0), "clear": row["comparison"] in better},
    )
    assert (
        "MCPO is better than GRPO at `shared` and worse than GRPO at `middle`, and cannot be told from it at 1 more.**"
        in headline(Results(copy))
    )
    _change(copy / "headline.csv", lambda row: {**row, "seeds": 2})
    assert "undecided with fewer than three seeds at `shared`" in headline(Results(copy))


def test_the_settings_with_room_are_judged_by_themselves(copy: Path) -> None:
    assert headline(Results(copy), ROOM_TOGETHER) == NONE
    _change(copy / "headline.csv", lambda row: {**row, "comparison": f"room-{row['comparison']}", "clear": False})
    said = headline(Results(copy), ROOM_TOGETHER).splitlines()
    assert "MCPO cannot be told from GRPO at any of the settings with room.**" in said[0]
    assert "at `room-shared`" in said[1] and "`shared`" not in said[1]
    assert headline(Results(copy)) == NONE


def test_whether_the_order_of_the_dials_holds(copy: Path) -> None:
    said = dials(Results(copy)).splitlines()
    assert "math to code, the expected order holds" in said[0] and "+0.271 (`shared`)" in said[0]
    assert "the gradient cosine, math to code, the expected order does not hold" in said[2], "they are all alike"
    swapped = {"shared": "apart", "apart": "shared"}
    _change(
        copy / "dials_summary.csv", lambda row: {**row, "comparison": swapped.get(row["comparison"], row["comparison"])}
    )
    assert "math to code, the expected order does not hold" in dials(Results(copy)).splitlines()[0]


def test_headroom(copy: Path) -> None:
    assert headroom(Results(copy)) == (
        "GRPO gains 0.15 or more in every domain at every setting; it ends above 0.95 nowhere."
    )
    file = copy / "shared" / "comparison.json"
    data = json.loads(file.read_text())
    data["rows"][0]["gain"]["code"]["value"], data["rows"][0]["accuracy"]["math"]["value"] = 0.1, 0.99
    file.write_text(json.dumps(data))
    assert headroom(Results(copy)) == (
        "GRPO gains less than 0.15 in code at `shared` (+0.100); it ends above 0.95, with little room left, in math at "
        "`shared` (0.990). There is room in every domain at `middle`, `conflict` and `apart`."
    )


@pytest.mark.parametrize(
    ("excess", "clear", "said"),
    [
        (0.1, True, "more often than by"),
        (-0.1, True, "less often than by"),
        (0.1, False, "neither clearly more nor less"),
    ],
)
def test_likeness_of_positives(copy: Path, excess: float, clear: bool, said: str) -> None:
    whole = positives(Results(copy))
    _change(
        copy / "positives_summary.csv",
        lambda row: {**row, "excess": excess, "clear": clear} if row["when"] == "in training" else row,
    )
    assert f"the positives that MCPO chooses have in training {said}" in positives(Results(copy))
    before = [line.partition("before training")[2] for line in positives(Results(copy)).splitlines()]
    assert all(before) and before == [line.partition("before training")[2] for line in whole.splitlines()]
    _change(copy / "positives_summary.csv", lambda row: {**row, "seeds": 2})
    assert "too few to tell from chance" in positives(Results(copy)) and said not in positives(Results(copy))


@pytest.mark.parametrize(("ratio", "said"), [(0.2, "neither drowned"), (0.001, ", drowned by"), (3.0, ", dominating")])
def test_the_term_against_the_policy(copy: Path, ratio: float, said: str) -> None:
    _change(copy / "term_summary.csv", lambda row: {**row, "value": ratio} if row["quantity"] == "grad_ratio" else row)
    assert said in term(Results(copy))
    # MCPO's rollouts of the fixture do better by 0.01 a step from the first step on.
    assert "differ from GRPO's from step 1 on (median; 1 to 1), of 20." in term(Results(copy))


def test_what_there_are_no_pairs_of_is_left_out(copy: Path) -> None:
    rows = read_csv(copy / "term_summary.csv")
    rows += [{**row, "quantity": "transferability", "value": 0.5} for row in rows if row["quantity"] == "positives"]
    for pairs, shown in ((12.0, "0.500"), (0.0, "–")):
        told = [{**row, "value": pairs} if row["quantity"] == "positives" else row for row in rows]
        write_csv(copy / "term_summary.csv", list(rows[0]), told)
        assert BLOCKS["term"](Results(copy)).splitlines()[2].split(" | ")[6] == shown


def test_which_methods_are_clear(copy: Path) -> None:
    assert "none is clearly better, none is clearly worse" in methods(Results(copy), "middle")
    _change(copy / "differences.csv", lambda row: {**row, "clear": row["method"] == "single", "value": -0.2})
    said = methods(Results(copy), "middle")
    assert said.count("clearly worse is single-domain (-0.200") == 3, "in accuracy, area and the worst-domain gain"


def test_the_ends_of_the_methods_are_named(copy: Path) -> None:
    values = {"mcpo": 0.1, "single": -0.3}
    _change(copy / "differences.csv", lambda row: {**row, "value": values.get(row["method"], 0.0), "clear": False})
    for line in methods(Results(copy), "middle").splitlines():
        assert (
            "The largest difference is that of MCPO (+0.100" in line and "smallest that of single-domain (-0.3" in line
        )


def test_one_method_alone_is_judged_by_itself(copy: Path) -> None:
    _change(copy / "differences.csv", lambda row: {**row, "value": -0.1, "clear": True})
    rows = read_csv(copy / "differences.csv")
    write_csv(copy / "differences.csv", list(rows[0]), [row for row in rows if row["method"] == "mcpo"])
    for line in methods(Results(copy), "middle").splitlines():
        assert ": MCPO against GRPO is worse (-0.100" in line


def test_whether_every_domain_improved(copy: Path) -> None:
    assert "**Every domain improves over GRPO on the mixture.** Not found: at `shared`" in claims(Results(copy))
    gaps = {("middle", "math"): -0.4}

    def better_at_shared(row: dict[str, Any]) -> dict[str, Any]:
        value = gaps.get((row["comparison"], row["domain"]), 0.1)
        return {**row, "value": value, "clear": (row["comparison"], row["domain"]) != ("conflict", "code")}

    _change(copy / "differences.csv", better_at_shared)
    said = claims(Results(copy)).splitlines()[0]
    assert "Found at `shared`: at `shared` MCPO's mean is above GRPO's in 3 of 3" in said
    assert "The largest difference of all is that in math at `middle` (-0.400" in said


def test_geometry_is_told_with_its_direction(copy: Path) -> None:
    values = {("shared", "alignment"): -0.1, ("middle", "cross_alignment"): -0.2}
    _change(
        copy / "geometry_summary.csv",
        lambda row: {**row, "clear": False, "value": values.get((row["comparison"], row["measure"]), 0.1)},
    )
    found = Results(copy).rows("geometry_summary")
    said = claims(Results(copy)).splitlines()[2]
    tests = sum(row["p"] is not None for row in found)
    assert f"Not found: of {tests} tests (on the rollouts" in said
    assert "within a domain MCPO's is lower in 1 of 3 comparisons, across domains MCPO's is lower in 1 of 3" in said
    _change(copy / "geometry_summary.csv", lambda row: {**row, "clear": row["measure"] == "overlap"})
    assert "Found in part" in claims(Results(copy)).splitlines()[2]


def test_numbers_as_they_are_written() -> None:
    assert [signed(value) for value in (0.0004, -0.0004, -0.0006, None)] == ["0.000", "0.000", "-0.001", "–"]
    row = {"value": 0.5, "low": 0.4, "high": 0.6, "clear": True}
    assert estimate(row) == "0.500 [0.400, 0.600]*"
    assert estimate(row | {"over": "problems"}, plus=True) == "+0.500 (+0.400, +0.600)*"
    assert estimate({"value": 0.5, "low": None, "high": None}) == "0.500" and estimate(None) == "–"


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?", cell))


def _rounded(number: str) -> float:
    return round(abs(float(number)), 3)
