"""Figures for papers: which are drawn, that they hold the numbers, and that odd names and missing data do no harm."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mcpo_rl.analysis.paper.figures import (
    FIGURES,
    Drawn,
    accuracy_curves,
    borrowing,
    comparison,
    cosine_matrices,
    effects,
    geometry,
    held_out_accuracy,
    write_figures,
)
from mcpo_rl.analysis.paper.style import paper_style
from mcpo_rl.analysis.reading.loading import load_runs
from mcpo_rl.analysis.reading.seeds import families
from mcpo_rl.analysis.sections.palette import domain_colours
from mcpo_rl.errors import ConfigError, MissingDependencyError, RunError
from mcpo_rl.runs import RunDirectory

from .conftest import evaluation, save_evaluation
from .test_comparison import make_comparison

PNG = b"\x89PNG\r\n\x1a\n"


def drawn(paths: list[Path]) -> Drawn:
    runs = load_runs(paths, most_steps=0)
    domains = ["math", "code", "logic"]
    return Drawn(runs, families(runs), domains, domain_colours(domains))


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with paper_style():
        yield


def texts(pane: Any) -> list[str]:
    return [text.get_text() for text in pane.texts]


def test_files_are_whole_and_the_same_every_time(two_runs: list[Path], tmp_path: Path) -> None:
    """Two figures are enough to see it; all of them take seconds."""
    chosen = {name: FIGURES[name] for name in ("accuracy_curves", "borrowing")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcpo_rl.analysis.paper.figures.FIGURES", chosen)
        written = write_figures(two_runs, tmp_path / "a" / "figures")
        again = write_figures(two_runs, tmp_path / "b", ["svg"])
    names = ["accuracy_curves.png", "accuracy_curves.svg", "borrowing.png", "borrowing.svg"]
    assert [path.name for path in written] == names == sorted(p.name for p in (tmp_path / "a" / "figures").iterdir())
    assert all(path.read_bytes().startswith(PNG) for path in written[::2])
    assert ElementTree.parse(written[1]).getroot().tag.endswith("svg")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written[1::2]]


def test_curves_hold_the_logged_numbers(two_runs: list[Path]) -> None:
    source = drawn(two_runs)
    figure = accuracy_curves(source)
    assert figure is not None
    assert [pane.get_title() for pane in figure.axes] == ["math", "code", "logic"]
    raw = figure.axes[1].lines[0]
    assert list(raw.get_ydata()) == source.runs[0].series("domain/code/accuracy")[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["grpo", "mcpo"]
    assert len({line.get_marker() for line in figure.axes[0].lines if line.get_label() in ("grpo", "mcpo")}) == 2


def test_held_out_accuracy_before_and_after(two_runs: list[Path]) -> None:
    source = drawn(two_runs)
    figure = held_out_accuracy(source)
    assert figure is not None
    run = source.runs[0]
    assert run.start is not None and run.end is not None
    shown = {round(float(x), 6) for line in figure.axes[0].lines for x in line.get_xdata()}
    for record in (run.start, run.end):
        assert round(record.domains["math"].accuracy.value, 6) in shown


def test_matrices_have_their_numbers(two_runs: list[Path]) -> None:
    source = drawn(two_runs)
    cosines = cosine_matrices(source)
    assert cosines is not None and [pane.get_title() for pane in cosines.axes] == ["grpo", "mcpo"]
    assert sum(text.startswith("−0.1") for text in texts(cosines.axes[0])) == 2, "math and code, both ways"
    assert len({pane.images[0].get_clim() for pane in cosines.axes}) == 1, "one scale for all runs"
    shares = borrowing(source)
    assert shares is not None and len(shares.axes) == 1 and "53%" in texts(shares.axes[0])
    change = effects(source)
    assert change is not None and len(texts(change.axes[0])) == 6
    assert all(text.endswith("*") for text in texts(change.axes[0])), "all of these gains are clear"


def test_a_comparison_shows_every_method_and_seed(tmp_path: Path) -> None:
    figure = comparison(drawn([make_comparison(tmp_path / "c", (0, 1, 2))]))
    assert figure is not None
    assert [pane.get_title() for pane in figure.axes] == ["math", "code", "mean of domains"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["GRPO", "MCPO", "single-domain"]
    seeds = [line for line in figure.axes[0].lines if line.get_alpha() == 0.5]
    assert [len(line.get_xdata()) for line in seeds] == [3, 3, 3]
    (tmp_path / "c" / "comparison.json").unlink()
    assert comparison(drawn([tmp_path / "c"])) is None


def test_odd_names(empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
    """Names are data: no formulas, no lost legend entries, and glyphs that the font lacks are no reason to fail."""
    domains = ["$x^{$", "_hidden", "数学", "a<b>&c"]
    for name in ("_run", "$other$"):
        run = empty_run(name)
        for step in (1, 2):
            run.append_metrics({"step": step, **{f"domain/{domain}/accuracy": 0.5 for domain in domains}})
        save_evaluation(evaluation(0.1), run.eval_file)
    figure = accuracy_curves(drawn_all([tmp_path / "_run", tmp_path / "$other$"]))
    assert figure is not None and len(figure.legends[0].get_texts()) == 2
    with pytest.warns(UserWarning, match="missing from font"):
        figure.savefig(tmp_path / "odd.svg")
    assert (tmp_path / "odd.svg").stat().st_size > 1000


def drawn_all(paths: list[Path]) -> Drawn:
    runs = load_runs(paths, most_steps=0)
    domains = sorted({domain for run in runs for domain in run.domains})
    return Drawn(runs, families(runs), domains, domain_colours(domains))


def test_runs_with_nothing_to_show(empty_run: Callable[[str], RunDirectory], tmp_path: Path) -> None:
    path = empty_run("run").path
    source = drawn([path])
    assert all(draw(source) is None for draw in FIGURES.values())
    assert write_figures([path], tmp_path / "figures") == [] and not (tmp_path / "figures").exists()


def test_the_geometry_of_a_probe(empty_run: Callable[[str], RunDirectory]) -> None:
    run = empty_run("run")
    for step, value in ((0, 0.9), (10, 0.8)):
        run.append_metrics({"step": step, "probe/separability": value, "probe/cka/math": 1.0})
    figure = geometry(drawn([run.path]))
    assert figure is not None and [pane.get_title() for pane in figure.axes] == ["separability"]
    assert list(figure.axes[0].lines[-1].get_ydata()) == pytest.approx([0.9, 0.8])


def test_refusals(two_runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"png, svg, pdf, not as 'svgz'\. Did you mean `svg`"):
        write_figures(two_runs, tmp_path, ["svgz"])
    with pytest.raises(RunError, match="not a run directory"):
        write_figures([tmp_path], tmp_path / "figures")
    (tmp_path / "file").touch()
    monkeypatch.setattr("mcpo_rl.analysis.paper.figures.FIGURES", {"borrowing": borrowing})
    with pytest.raises(RunError, match=r"Cannot write .*borrowing\.png"):
        write_figures(two_runs, tmp_path / "file" / "figures")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mcpo-rl\[report\]'"):
        write_figures(two_runs, tmp_path)


def test_nothing_of_the_style_stays_behind(two_runs: list[Path]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with paper_style():
        assert matplotlib.rcParams["text.parse_math"] is False
    assert dict(matplotlib.rcParams) == before
