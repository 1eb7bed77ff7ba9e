"""The package as a whole: what importing it costs, its version, its metadata."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mcpo_rl

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "datasets", "numpy", "plotly", "trl", "accelerate", "pandas", "pyarrow", "sympy"}


def modules_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys\nprint('LOADED', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("LOADED")
    return {name.partition(".")[0] for name in last.split()[1:]}


@pytest.mark.parametrize(
    "code",
    [
        "import mcpo_rl",
        "import mcpo_rl.errors, mcpo_rl.types, mcpo_rl.config",
        "from mcpo_rl.cli import main; assert main(['--help']) == 0",
        "from mcpo_rl.cli import main; assert main(['--version']) == 0",
        "from mcpo_rl.cli import main; assert main(['train', '--help']) == 0",
        "from mcpo_rl.cli import main; assert main(['train', 'no-such-recipe']) == 2",
        "import mcpo_rl.domains",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not modules_after(code) & HEAVY


def test_the_probe_sees_heavy_imports() -> None:
    assert "numpy" in modules_after("import numpy")


def test_the_trainer_is_loaded_on_first_use() -> None:
    assert "torch" in modules_after("import mcpo_rl; mcpo_rl.MCPOConfig, mcpo_rl.MCPOTrainer")
    with pytest.raises(AttributeError, match="no attribute 'MCPOTrainr'"):
        _ = mcpo_rl.MCPOTrainr


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == mcpo_rl.__version__
    assert re.search(rf"^## \[{re.escape(mcpo_rl.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_module_runs_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mcpo_rl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"mcpo-rl {mcpo_rl.__version__}"


def test_dependencies_are_bounded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    unbounded = [
        text for text in project["dependencies"] if "<" not in text and not text.startswith(("pyarrow", "packaging"))
    ]
    assert not unbounded
