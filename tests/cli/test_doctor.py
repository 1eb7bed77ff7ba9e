"""`mcpo-rl doctor`: facts, whatever is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
import torch

from mcpo_rl.cli import machine


def test_json(command: Callable[..., Any]) -> None:
    answer = command("doctor", "--json")
    assert answer.status == 0
    facts = json.loads(answer.out)
    assert facts["machine"]["torch"] == torch.__version__
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["memory_gib"] > 0
    versions = {package["name"]: package["version"] for package in facts["packages"]}
    assert versions["trl"] == metadata.version("trl")
    assert set(facts["models"]) == {"builtin:tiny", "builtin:smollm2-135m"}
    assert facts["sandbox"]


def test_text(command: Callable[..., Any]) -> None:
    answer = command("doctor")
    assert answer.status == 0
    for part in ("machine", "packages", "sandbox", "models", "transformers", "builtin:tiny"):
        assert part in answer.out


def test_installed_packages_fit_what_the_project_declares() -> None:
    required = [fact for fact in machine.package_facts() if fact["extra"] is None]
    assert [fact["name"] for fact in required] == list(machine.REQUIRED)
    assert all(fact["fits"] and fact["supported"] for fact in required)


def test_a_version_outside_the_range_comes_with_advice(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: "9.0" if name == "trl" else real(name))
    facts = json.loads(command("doctor", "--json").out)
    trl = next(fact for fact in facts["packages"] if fact["name"] == "trl")
    assert not trl["fits"]
    assert any(advice.startswith("trl 9.0 is outside the supported range") for advice in facts["advice"])


def test_missing_optional_package_names_its_extra(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_version", lambda name: None)
    answer = command("doctor")
    assert answer.status == 0
    assert "pip install 'mcpo-rl[vllm]'" in answer.out
    assert "trl is missing" in answer.out


def test_a_torch_that_cannot_be_imported_is_told(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # makes `import torch` raise ImportError
    facts = json.loads(command("doctor", "--json").out)
    assert facts["machine"]["torch"] is None
    assert any("torch cannot be imported" in advice for advice in facts["advice"])
