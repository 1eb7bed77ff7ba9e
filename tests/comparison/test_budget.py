"""What a specialist and a stage get: whole numbers, and the very prompts of the run on the mixture."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from mcpo_rl.comparison.budget import (
    Batch,
    domain_shares,
    moves,
    one_domain_mixture,
    reacts,
    specialist_part,
    stage_parts,
)
from mcpo_rl.data.mixture import DomainMixture, mixture_options
from mcpo_rl.errors import ConfigError

ROWS = {"math": 40, "code": 20, "logic": 20}


def batch(per_device: int, accumulation: int, generations: int = 8, turns: int | None = None, **more: Any) -> Batch:
    turns = turns or accumulation
    return Batch(
        per_device=per_device,
        accumulation=accumulation,
        num_generations=generations,
        generation_batch=per_device * turns,
        steps_per_generation=turns,
        **more,
    )


def test_shares() -> None:
    assert domain_shares(None, ROWS) == {"math": 0.5, "code": 0.25, "logic": 0.25}
    assert domain_shares("equal", ROWS) == dict.fromkeys(ROWS, pytest.approx(1 / 3))
    given = {"weights": {"math": 0.75, "code": 0.25, "logic": 0.0}, "resample": 3}
    assert domain_shares(given, ROWS) == {"math": 0.75, "code": 0.25}
    with pytest.raises(ConfigError, match="says nothing of 'logic'"):
        domain_shares({"weights": {"math": 0.5, "code": 0.5}}, ROWS)


def test_rollouts_per_step() -> None:
    assert batch(8, 4).rollouts_per_step == 32
    # 64 rollouts are generated for two optimizer steps; with two iterations for four.
    assert batch(8, 4, turns=8).rollouts_per_step == 32
    assert batch(8, 4, turns=8, num_iterations=2).rollouts_per_step == 16


@pytest.mark.parametrize(
    ("given", "share", "changes"),
    [
        (batch(96, 1), 1 / 3, {"per_device_train_batch_size": 32}),
        (batch(8, 12), 1 / 3, {"gradient_accumulation_steps": 4, "steps_per_generation": 4}),
        (batch(8, 12, turns=24), 0.25, {"gradient_accumulation_steps": 3, "steps_per_generation": 6}),
        (
            batch(8, 12, in_rollouts=True),
            0.5,
            {"generation_batch_size": 48, "gradient_accumulation_steps": 6},
        ),
        # Three turns for two steps: half of the steps would be 1.5 turns, so the micro-batches are halved.
        (batch(16, 2, turns=3), 0.5, {"per_device_train_batch_size": 8}),
    ],
)
def test_a_batch_is_cut_to_the_share(given: Batch, share: float, changes: dict[str, int]) -> None:
    part = specialist_part(given, 60, share, "per-domain")
    assert part.changes == changes
    assert (part.steps, part.share) == (60, share)


@pytest.mark.parametrize(
    ("given", "share", "steps"),
    [
        (batch(8, 8), 1 / 3, 20),  # 8 prompts have no third
        (batch(16, 3, generations=16), 0.5, 30),  # 3 prompts have no half, though the rows of a micro-batch do
    ],
)
def test_a_batch_that_cannot_be_cut_takes_fewer_steps(given: Batch, share: float, steps: int) -> None:
    part = specialist_part(given, 60, share, "per-domain")
    assert (part.steps, part.share, part.changes) == (steps, 1.0, {"max_steps": steps})


def test_under_total_a_specialist_trains_as_a_run_on_the_mixture() -> None:
    part = specialist_part(batch(96, 1), 60, 1 / 3, "total")
    assert (part.steps, part.share, part.changes) == (60, 1.0, {})


@pytest.mark.parametrize("steps", [3, 7, 60, 100])
@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.9, 0.05, 0.05), (0.5, 0.3, 0.2)])
def test_stages_share_the_steps(steps: int, shares: tuple[float, ...]) -> None:
    asked = dict(zip(ROWS, shares, strict=True))
    parts = stage_parts(steps, asked)
    assert sum(part.steps for part in parts.values()) == steps
    assert all(part.steps >= 1 and part.changes == {"max_steps": part.steps} for part in parts.values())
    if steps == 100:
        assert all(abs(part.steps - 100 * asked[domain]) < 1 for domain, part in parts.items())


@pytest.mark.parametrize("shares", [(0.46, 0.27, 0.27), (0.34, 0.33, 0.33)])  # rounded they are one too many, too few
def test_what_rounding_leaves_goes_to_the_stage_furthest_from_its_share(shares: tuple[float, ...]) -> None:
    parts = stage_parts(10, dict(zip(ROWS, shares, strict=True)))
    assert {domain: part.steps for domain, part in parts.items()} == {"math": 4, "code": 3, "logic": 3}


def test_fewer_steps_than_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`max_steps` is 2; .* the 3 domains"):
        stage_parts(2, domain_shares("equal", ROWS))


def test_a_specialist_sees_the_prompts_of_the_run_on_the_mixture() -> None:
    domains = [domain for domain, count in ROWS.items() for _ in range(count)]
    whole = DomainMixture(domains, mixture_options("equal"), prompts_per_batch=12, seed=7)
    rows = [row for row, domain in enumerate(domains) if domain == "code"]
    own = DomainMixture(["code"] * len(rows), mixture_options(one_domain_mixture("equal")), prompts_per_batch=4, seed=7)
    for number in range(12):  # more than two epochs of the domain
        seen = [row for row in whole.batch(number) if domains[row] == "code"]
        assert Counter(seen) == Counter(rows[row] for row in own.batch(number))


def test_the_mixture_of_one_domain() -> None:
    assert one_domain_mixture(None) is None
    assert one_domain_mixture("proportional") == "equal"
    full = {
        "weights": "temperature",
        "temperature": 2,
        "curriculum": ["worst_domain", {"kind": "difficulty"}],
        "resample": 3,
    }
    assert one_domain_mixture(full) == {"weights": "equal", "resample": 3, "curriculum": [{"kind": "difficulty"}]}
    assert one_domain_mixture({"curriculum": "worst_domain"}) == {"weights": "equal"}


def test_what_a_mixture_does_while_it_runs() -> None:
    assert reacts({"resample": 2}) and not moves({"resample": 2})
    assert reacts({"curriculum": "worst_domain"}) and moves({"curriculum": "worst_domain"})
    for plain in (None, "equal", {"weights": "equal", "curriculum": "difficulty"}):
        assert not reacts(plain) and not moves(plain)
