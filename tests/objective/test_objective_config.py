import dataclasses

import pytest

from mcpo_rl.errors import ConfigError
from mcpo_rl.objective import ContrastiveConfig


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("temperature", 0.0, "finite number > 0"),
        ("temperature", "0.1", "finite number > 0"),
        ("temperature", float("nan"), "finite number > 0"),
        ("num_positives", 0, "whole number >= 1 .*share_weight to 0"),
        ("num_positives", True, "whole number >= 1"),
        ("num_positives", 2.0, "whole number >= 1"),
        ("min_transferability", float("-inf"), "finite number"),
        ("share_weight", -1, "finite number >= 0"),
        ("consolidate_weight", float("inf"), "finite number >= 0"),
        ("negatives", "al", "one of `all`, `domain`, `prompt`. Did you mean `all`?"),
        ("negatives", None, "one of `all`"),
        ("consolidation", "aligned", "Did you mean `align`?"),
        ("transferability", "centred", "Did you mean `centered`?"),
        ("transferability", 3, "a callable that takes the pool"),
        ("block_size", 0, "whole number >= 1"),
    ],
)
def test_each_bad_value_is_named(field, value, expected):
    with pytest.raises(ConfigError, match=rf"ContrastiveConfig\.{field} is .*; expected .*{expected}"):
        ContrastiveConfig(**{field: value})


def test_it_is_frozen_and_keyword_only():
    config = ContrastiveConfig(block_size=None, transferability=lambda pool: pool.features, share_weight=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.temperature = 1.0
    with pytest.raises(TypeError):
        ContrastiveConfig(0.1)
