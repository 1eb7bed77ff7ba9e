"""Pooling by lines: against plain loops, and through every pass that pools."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl.features import lines
from mcpo_rl.trainers.trl.features.lines import TokenWeights, breaking_tokens, line_weights
from mcpo_rl.trainers.trl.features.probe import states_of_model, tokenize

from .conftest import make_model, make_tokenizer
from .test_dpo import compare as compare_dpo
from .test_dpo import make_dpo  # noqa: F401  # a fixture
from .test_exact_gradient import compare
from .test_probing import probe_set

BREAKS = (8, 9, 10, 11, 12, 13)
"""Characters that stand for line breaks: the tests' tokenizer has none."""


def weights_of(text: str) -> list[float]:
    """Weights of tokens by loops: `x` text, `|` a break, `.` a token that does not count."""
    found: list[list[int]] = [[]]
    for place, kind in enumerate(text):
        if kind == ".":
            continue
        written = [text[other] for other in found[-1]]
        if kind == "x" and "x" in written and written[-1] == "|":
            found.append([])
        found[-1].append(place)
    found = [line for line in found if line]
    weights = [0.0] * len(text)
    for line in found:
        for place in line:
            weights[place] = 1 / (len(found) * len(line))
    return weights


def both(texts: list[str]) -> tuple[list[list[float]], list[list[float]]]:
    mask = torch.tensor([[kind != "." for kind in text] for text in texts])
    breaks = torch.tensor([[kind != "x" for kind in text] for text in texts])  # those that do not count may be breaks
    return line_weights(mask, breaks).tolist(), [weights_of(text) for text in texts]


def test_weights_by_hand():
    found, naive = both(["xx|x", "|x||", "x||x", "xx..", "....", "x.|x"])
    expected = [
        [1 / 6, 1 / 6, 1 / 6, 1 / 2],
        [1 / 4] * 4,  # blank lines are no lines, neither before nor after
        [1 / 6, 1 / 6, 1 / 6, 1 / 2],
        [1 / 2, 1 / 2, 0, 0],
        [0.0] * 4,
        [1 / 4, 0, 1 / 4, 1 / 2],
    ]
    assert found == [pytest.approx(row) for row in expected] and naive == [pytest.approx(row) for row in expected]


def test_weights_equal_the_loops():
    rng = random.Random(0)
    found, naive = both(["".join(rng.choices("xx|.", k=20)) for _ in range(200)])
    for one, other in zip(found, naive, strict=True):
        assert one == pytest.approx(other, rel=1e-12)
        assert sum(one) == pytest.approx(1.0) or sum(other) == 0


def test_tokens_with_a_break():
    class Tokenizer:
        words = ("a", "\n", ".\n", "b", "\n\n")

        def __len__(self) -> int:
            return len(self.words)

        def decode(self, ids: list[int]) -> str:
            return "".join(self.words[number] for number in ids)

    assert breaking_tokens(Tokenizer(), range(5)) == [1, 2, 4]
    weigh = TokenWeights("lines", Tokenizer())
    assert weigh(torch.tensor([[0, 1, 3, 9]]), torch.ones(1, 4)).tolist() == [[0.25] * 4]
    mask = torch.ones(1, 4)
    assert TokenWeights("mean", None)(torch.zeros(1, 4), mask) is mask


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "breaking_tokens", lambda tokenizer, ids: [*BREAKS])


@pytest.mark.parametrize("source", ["forward", "training", "auto"])
def test_the_gradient_is_that_of_the_lines(make_trainer: Any, broken: None, source: str) -> None:
    trainer, error = compare(
        make_trainer, dtype=torch.float64, policy=False, feature_source=source, feature_pooling="lines"
    )
    assert trainer.feature_source_in_use == ("forward" if source == "forward" else "training")
    assert error < 1e-9


def test_from_the_old_log_probs(make_trainer: Any, broken: None) -> None:
    trainer = make_trainer(feature_pooling="lines", steps_per_generation=4, max_steps=1, contrastive_coef=1.0)
    found: list[Any] = []
    features = trainer._features.features

    def compared(batch: dict[str, Any]) -> Any:
        found.extend([features(batch), trainer._features.forward(batch)])
        return found[0]

    trainer._features.features = compared
    trainer.train()
    assert trainer.feature_source_in_use == "old_logps"
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_dpo(make_dpo: Any, broken: None) -> None:  # noqa: F811
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert compare_dpo(make_dpo, dtype=torch.float64, policy=False, feature_pooling="lines", **sizes)[0] < 1e-9


def test_a_probe_set() -> None:
    model, tokens = make_model().eval(), tokenize(probe_set(), make_tokenizer())
    assert tokens.breaks == []
    by_lines, mean = (states_of_model(model, tokens, pooling=pooling, batch_size=4) for pooling in ("lines", "mean"))
    np.testing.assert_allclose(by_lines, mean, rtol=1e-5, atol=1e-6)
    tokens.breaks.extend(BREAKS)
    by_lines = states_of_model(model, tokens, pooling="lines", batch_size=4)
    for place, (ids, start) in enumerate(zip(tokens.rows, tokens.prompts, strict=True)):
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0, start:].numpy()
        weights = weights_of("".join("|" if token in BREAKS else "x" for token in ids[start:]))
        np.testing.assert_allclose(by_lines[place], np.asarray(weights) @ hidden, rtol=1e-4, atol=1e-5)
    assert not np.allclose(by_lines, mean, atol=1e-3)


def test_decoding_is_refused(make_trainer: Any) -> None:
    with pytest.raises(ConfigError, match="feature_source='generation' cannot work here: how much a token of a line"):
        make_trainer(feature_pooling="lines", feature_source="generation")
