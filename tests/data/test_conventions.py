"""The testbed's conventions: which opening announces care where, and what the dials change."""

from collections import Counter
from random import Random

import pytest

from mcpo_rl.data.procedural import FAMILIES, Strategy
from mcpo_rl.data.procedural.conventions import (
    COMMON,
    FAMILIES_USED,
    OWN,
    SOURCE_DOMAIN,
    Dials,
    opening_of,
    unannounced,
)
from mcpo_rl.errors import ConfigError

RARE = [
    (domain, family) for domain, families in FAMILIES_USED.items() if domain != SOURCE_DOMAIN for family in families
]


@pytest.mark.parametrize(
    ("shared", "conflict", "expected"),
    [
        (0, 0, ["own", "own"] * 2),
        (1, 0, ["common", "common"] * 2),
        (0, 1, ["reversed", "reversed"] * 2),
        (0.5, 0.5, ["common", "reversed"] * 2),
        (0, 0.5, ["reversed", "own"] * 2),
    ],
)
def test_the_dials_set_the_conventions_of_families(shared: float, conflict: float, expected: list[str]) -> None:
    dials = Dials(shared=shared, conflict=conflict)
    assert [dials.convention(domain, family) for domain, family in RARE] == expected
    assert {dials.convention(SOURCE_DOMAIN, family) for family in FAMILIES_USED[SOURCE_DOMAIN]} == {"common"}


def test_an_opening_announces_care_or_haste() -> None:
    dials = Dials(shared=0.5, conflict=0.5)
    assert dials.announced("code", "steps", Strategy.CAREFUL, "x") == "steps:\nx"
    assert dials.announced("code", "branch", Strategy.CAREFUL, "x") == "brief:\nx", "reversed"
    assert dials.announced("code", "branch", Strategy.TERSE, "x") == "steps:\nx", "the same word, the opposite meaning"
    assert Dials().announced("logic", "knights", Strategy.SLOPPY, "x") == "bet:\nx"
    assert opening_of("brief:\nx = 1") == "brief:"
    assert opening_of("x = 1") is None


def test_openings_are_told_apart() -> None:
    words = [*COMMON, *(word for pair in OWN.values() for word in pair)]
    assert len(set(words)) == len(words)
    assert all(
        name in FAMILIES and FAMILIES[name].domain == domain
        for domain, names in FAMILIES_USED.items()
        for name in names
    )


def test_before_the_habit_an_opening_says_nothing() -> None:
    rng = Random(0)
    seen = Counter(opening_of(unannounced("code", "x", rng)) for _ in range(4_000))
    assert set(seen) == {*COMMON, *OWN["code"]}
    assert all(abs(count / 4_000 - 0.25) < 0.03 for count in seen.values())


@pytest.mark.parametrize("dials", [{"shared": 0.3}, {"conflict": -1}, {"shared": 1, "conflict": 0.5}])
def test_dials_between_the_marks_are_refused(dials: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"shared|conflict"):
        Dials(**dials)
