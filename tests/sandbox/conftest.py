"""The walls of other machines: the layers that need a Linux kernel's consent, taken away one by one."""

from __future__ import annotations

import marshal
from pathlib import Path

import pytest

from mcpo_rl.sandbox import process

NO_NAMESPACE = ("def _new_pid_namespace() -> bool:\n", "def _new_pid_namespace() -> bool:\n    return False\n")
NO_OWN_USER = ("def _own_uid() -> int | None:\n", "def _own_uid() -> int | None:\n    return None\n")


@pytest.fixture(params=["all layers", "no namespace", "host's user alone"])
def layers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the layers that this machine grants, and as on machines that grant fewer."""
    removed = {"all layers": [], "no namespace": [NO_NAMESPACE], "host's user alone": [NO_NAMESPACE, NO_OWN_USER]}
    here = Path(process.__file__).parent
    modules = []
    for name in ("wire", "confine", "runner"):
        source = (here / f"{name}.py").read_text()
        if name == "confine":
            for old, new in removed[request.param]:
                assert old in source
                source = source.replace(old, new)
        modules.append((f"mcpo_rl.sandbox.{name}", compile(source, name, "exec", dont_inherit=True)))
    data = marshal.dumps(modules)
    monkeypatch.setattr(process, "_code_sent_in", lambda: len(data).to_bytes(8, "big") + data)
    return str(request.param)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sandbox makes its directories; empty again when all of them are removed."""
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))
    return tmp_path
