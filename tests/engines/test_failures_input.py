"""Two ranks of which one has nothing to offer, or something that the other does not know: training goes on, alike."""

from __future__ import annotations

import json

import pytest

from .launcher import launch

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    directory = tmp_path_factory.mktemp("input")
    launch("engines.bad_input", [str(directory)], ranks=2)
    return json.loads((directory / "found.json").read_text())


@pytest.mark.parametrize("case", ["unscored", "cut off", "one domain each", "streamed"])
def test_both_ranks_have_the_same_pools_and_go_on(found, case):
    first, second = found[case]["ranks"]
    assert first == second and first["finite"] and len(first["pools"]) == 2
    assert found[case]["aligned"] and found[case]["nonfinite"] == [0.0, 0.0]


@pytest.mark.parametrize("case", ["unscored", "cut off"])
def test_what_rank_1_lacks_is_not_used(found, case):
    for usable, _, _ in found[case]["ranks"][0]["pools"]:
        assert all(usable[:8]) and not any(usable[8:])


def test_domains_that_only_one_rank_has_are_contrasted(found):
    for usable, domains, loss in found["one domain each"]["ranks"][0]["pools"]:
        assert all(usable) and len(set(domains[:8])) == len(set(domains[8:])) == 1 and domains[0] != domains[8]
        assert loss > 0
    assert min(found["one domain each"]["anchors"]) > 0


def test_a_name_that_one_rank_meets_first_gets_one_number(found):
    first = found["streamed"]["ranks"][0]
    new = [name for name in first["names"] if name.startswith("new")]
    assert new and len(first["names"]) == len(set(first["names"]))
    assert all(f"domain/{name}/share" in found["streamed"]["keys"] for name in new)
    numbers = {first["names"].index(name) for name in new}
    # At least one of them on one rank alone, in that batch.
    assert any(numbers & (set(domains[:8]) ^ set(domains[8:])) for _, domains, _ in first["pools"])
