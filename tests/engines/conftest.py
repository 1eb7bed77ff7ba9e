"""The largest errors per engine, printed after the tests (and written to the file that EXACTNESS_JSON names)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

MEASURED = pytest.StashKey[list[dict[str, Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = []


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> list[dict[str, Any]]:
    """What the tests measured: append one dictionary of engine, ranks, scenario, step and errors."""
    return pytestconfig.stash[MEASURED]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(MEASURED, [])
    if not rows:
        return
    terminalreporter.section("gradient against one giant batch, relative error")
    terminalreporter.write_line(f"{'engine':8}{'ranks':>6}{'dtype':>10}{'checks':>8}{'largest':>10}  in")
    groups = sorted({(row["engine"], row["ranks"], row["dtype"]) for row in rows})
    for engine, ranks, dtype in groups:
        own = [row for row in rows if (row["engine"], row["ranks"], row["dtype"]) == (engine, ranks, dtype)]
        worst = max(own, key=lambda row: row["error"])
        line = f"{engine:8}{ranks:>6}{dtype:>10}{len(own):>8}{worst['error']:>10.1e}  {worst['scenario']}"
        terminalreporter.write_line(line)
    if path := os.environ.get("EXACTNESS_JSON"):
        Path(path).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
