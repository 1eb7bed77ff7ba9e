"""Plain progress lines: how fast, and how long."""

from __future__ import annotations

import pytest

from mcpo_rl.cli.progress import evaluation_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("mcpo_rl.cli.progress.time.monotonic", lambda: now[0])
    return now


def shown(capsys: pytest.CaptureFixture[str], clock: list[float], calls: list[tuple[float, int, int]]) -> list[str]:
    with evaluation_progress() as progress:
        assert progress is not None
        for seconds, done, total in calls:
            clock[0] += seconds
            progress(done, total)
    return capsys.readouterr().err.splitlines()


def test_rate_and_time_left(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    lines = shown(capsys, clock, [(0, 0, 10_000), (500, 2_000, 10_000), (500, 4_000, 10_000), (1500, 10_000, 10_000)])
    assert lines == [
        "evaluate 2000/10000 completions (4/s, 0:33:20 left)",
        "evaluate 4000/10000 completions (4/s, 0:25:00 left)",
        "evaluate 10000/10000 completions (4/s)",
    ]


def test_what_was_there_took_no_time(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    lines = shown(capsys, clock, [(0, 60, 100), (10, 80, 100), (10, 100, 100)])
    assert lines == [
        "evaluate 60/100 completions",
        "evaluate 80/100 completions (2/s, 0:00:10 left)",
        "evaluate 100/100 completions (2/s)",
    ]
