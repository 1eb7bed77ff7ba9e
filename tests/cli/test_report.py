"""`mcpo-rl report`: a run in, one page out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpo_rl.runs import RunDirectory

Command = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run", {"model": "m", "method": "mcpo"})
    for step in (1, 2):
        run.append_metrics({"step": step, "reward": 0.5, "domain/math/accuracy": 0.25 * step})
    run.write_manifest(method="mcpo", status="finished")
    return run


def test_it_writes_one_page_and_says_where(command: Command, run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    output = tmp_path / "page.html"
    answer = command("report", run.path, "-o", output)
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[0] == str(output)
    assert "<html" in output.read_text().lower()


def test_the_figures_stand_beside_it(command: Command, run: RunDirectory, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    answer = command("report", run.path, "-o", tmp_path / "page.html")
    written = sorted(file.name for file in (tmp_path / "page_figures").iterdir())
    assert answer.out.splitlines()[1] == f"{tmp_path / 'page_figures'}/ ({len(written)} figures)"
    assert "accuracy_curves.png" in written and "accuracy_curves.svg" in written
    assert command("report", run.path, "-o", tmp_path / "p.html", "--figures", tmp_path / "f", "--formats", "pdf")
    assert {file.suffix for file in (tmp_path / "f").iterdir()} == {".pdf"}


def test_the_page_alone_into_a_directory(command: Command, run: RunDirectory, tmp_path: Path) -> None:
    answer = command("report", run.path, "-o", tmp_path, "--no-figures")
    assert answer.out.strip() == str(tmp_path / "report.html")
    assert not list(tmp_path.glob("*_figures"))


def test_a_mistake_leaves_nothing_behind(command: Command, run: RunDirectory, tmp_path: Path) -> None:
    for words in (["--formats", "gif"], ["--figures", tmp_path / "f", "--no-figures"]):
        answer = command("report", run.path, "-o", tmp_path / "page.html", *words)
        assert answer.status == 2 and answer.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_is_no_run(command: Command, tmp_path: Path) -> None:
    answer = command("report", tmp_path / "no-run")
    assert answer.status == 2
    assert "no-run" in answer.err
    assert answer.err.count("\n") == 1
