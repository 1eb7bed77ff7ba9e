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
    answer = command("report", run.path, "--output", output)
    assert answer.status == 0, answer.err
    assert answer.out.strip() == str(output)
    assert "<html" in output.read_text().lower()


def test_what_is_no_run(command: Command, tmp_path: Path) -> None:
    answer = command("report", tmp_path / "no-run")
    assert answer.status == 2
    assert "no-run" in answer.err
    assert answer.err.count("\n") == 1
