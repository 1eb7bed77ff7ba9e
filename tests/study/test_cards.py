"""The model cards say what the manifests say, in the hub's format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import mcpo_rl.models
from study.bases import SKILL

CARDS = {"tiny": Path(mcpo_rl.models.__file__).parent / "tiny", "skill": SKILL}


@pytest.fixture(params=CARDS)
def card(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    folder = CARDS[request.param]
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return (folder / "README.md").read_text(encoding="utf-8"), manifest


def test_the_hubs_header(card: tuple[str, dict[str, Any]]) -> None:
    text, manifest = card
    header = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])  # type: ignore[index]
    assert header["license"] == manifest["license"].lower()
    assert header["pipeline_tag"] == "text-generation" and header["library_name"] == "transformers"
    assert header["language"] == ["en"] and "reinforcement-learning" in header["tags"]
    for title in ("Use", "Training data", "Evaluation", "Limits"):
        assert f"\n## {title}\n" in text


def test_the_evaluation(card: tuple[str, dict[str, Any]]) -> None:
    text, manifest = card
    measured = manifest["sampled_accuracy"]
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|$", text, re.MULTILINE)
    assert {name: tuple(map(float, numbers)) for name, *numbers in rows} == {
        name: (own["accuracy"], own["low"], own["high"]) for name, own in measured["domains"].items()
    }
    asked = f"temperature {measured['temperature']} on {measured['problems_per_domain']} held-out problems per domain, "
    assert f"{asked}{measured['samples']} samples each" in text


def test_how_it_was_made(card: tuple[str, dict[str, Any]]) -> None:
    text, manifest = card
    config = manifest["config"]
    flat = " ".join(text.split())
    assert f"{manifest['parameters']:,} parameters ({config['layers']} layers, width {config['hidden_size']}" in flat
    assert f"{config['vocab_size']} tokens" in flat and f"seed {config['seed']}" in flat
    assert f"{config['skill_steps']:,} steps of {config['batch_size']} examples" in flat
    assert f"{config['skill_careful_share']} " in flat
    if config["habit_steps"]:
        assert f"then {config['habit_steps']} steps" in flat
        for domain, shares in config["habit"].items():
            assert f"| {domain} | {shares['careful']} | {shares['sloppy']} | {shares['terse']} |" in text
    if "start" in config:
        assert f"starting from `{config['start']}`" in flat and manifest["command"] in flat
