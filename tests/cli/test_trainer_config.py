"""Several ranks on a machine without a GPU are one run, with the time-out that was asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch

from mcpo_rl.cli import trainer_config
from mcpo_rl.config import load_recipe
from mcpo_rl.errors import ConfigError


@pytest.fixture
def joined(monkeypatch):
    calls = []
    monkeypatch.setattr(trainer_config, "PartialState", lambda **options: calls.append(options))
    monkeypatch.setattr(trainer_config, "MCPOConfig", _Config)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "")
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    return calls


class _Config(trainer_config.MCPOConfig):
    def __init__(self, **values):
        self.values = values


def config_of(**settings):
    recipe = load_recipe("demo", [f"--{key}={value}" for key, value in settings.items()])
    return trainer_config.training_config(recipe, "somewhere")


def test_ranks_that_a_launcher_started_meet_on_the_cpu(joined, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    config_of(ddp_timeout=77)
    assert joined == [{"cpu": True, "timeout": timedelta(seconds=77)}]


def test_one_process_needs_no_group(joined, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    config_of()
    assert joined == []


def test_ranks_with_gpus_are_left_to_accelerate(joined, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    config_of()
    assert joined == []


def test_a_time_out_of_nothing(joined, monkeypatch):
    with pytest.raises(ConfigError, match="ddp_timeout is 0; expected seconds > 0"):
        config_of(ddp_timeout=0)
