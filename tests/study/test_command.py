"""`python -m study results` and `page`, as they are typed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from study.__main__ import main
from study.results import figures

Typed = Callable[..., int]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.setattr(figures, "FIGURES", {})  # they take seconds and are drawn elsewhere

    def run(*words: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["study", *map(str, words)])
        return main()

    return run


def test_results_and_page(runs: Path, tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "results", tmp_path / "page.md"
    assert typed("results", "--runs", runs, "--results", out, "--page", page) == 0
    assert f"Numbers and figures: {out}; tables: {page}" in capsys.readouterr().out
    assert (out / "headline.csv").is_file() and "| shared | GRPO | 3 |" in page.read_text()
    page.unlink()
    assert typed("page", "--runs", tmp_path / "none", "--results", out, "--page", page) == 0
    assert "| shared | GRPO | 3 |" in page.read_text()


def test_mistakes_are_one_line(tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    for part, said in (("results", "holds no comparison with a finished run"), ("page", "holds no results")):
        assert typed(part, "--runs", tmp_path, "--results", tmp_path / "r", "--page", tmp_path / "p.md") == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and "Traceback" not in error
    assert not list(tmp_path.iterdir()), "nothing half-written stays"
    with pytest.raises(SystemExit, match="2"):
        typed("resluts")
    assert "there is no part `resluts`; there are full, quick, sweep" in capsys.readouterr().err
