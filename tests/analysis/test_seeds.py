"""Runs of several seeds as one: which belong together, and what their mean is."""

from collections.abc import Callable
from typing import Any

from mcpo_rl.analysis.reading.loading import RunData, load_runs
from mcpo_rl.analysis.reading.seeds import Family, families
from mcpo_rl.runs import RunDirectory

Empty = Callable[[str], RunDirectory]


def data(tmp_run: Empty, name: str, config: dict[str, Any], rows: list[dict[str, Any]], **facts: Any) -> RunData:
    run = tmp_run(name)
    for row in rows:
        run.append_metrics(row)
    run.write_manifest(**facts)
    loaded = load_runs([run.path])[0]
    loaded.config = config
    return loaded


def test_the_same_config_but_the_seed(empty_run: Empty) -> None:
    config = {"model": "m", "learning_rate": 1e-5, "output_dir": "a", "seed": 0}
    runs = [
        data(empty_run, "a", config, [], method="grpo", seed=0),
        data(empty_run, "b", {**config, "learning_rate": 2e-5}, [], method="grpo", seed=0),
        data(empty_run, "c", {**config, "seed": 1, "head_seed": 1, "output_dir": "c"}, [], method="grpo", seed=1),
        data(empty_run, "d", config, [], method="mcpo", seed=0),
        data(empty_run, "e", {}, [], method="grpo"),
    ]
    found = families(runs)
    assert [[run.name for run in family.runs] for family in found] == [["a", "c"], ["b"], ["d"], ["e"]]
    assert [family.name for family in found] == ["grpo", "b", "d", "e"]
    assert found[0].title == "grpo (mean of 2 runs)" and found[1].title == "b"


def test_two_families_never_share_a_name(empty_run: Empty) -> None:
    runs = [
        data(empty_run, f"{rate}-{seed}", {"lr": rate, "seed": seed}, [], method="grpo", seed=seed)
        for rate in (1, 2)
        for seed in (0, 1)
    ]
    assert [family.name for family in families(runs)] == ["1-0", "2-0"]


def test_the_mean_is_over_the_steps_that_all_have(empty_run: Empty) -> None:
    whole = data(empty_run, "a", {}, [{"step": 1, "x": 1.0}, {"step": 2, "x": 2.0}, {"step": 3, "x": 9.0}])
    short = data(empty_run, "b", {}, [{"step": 1, "x": 3.0}, {"step": 2, "x": 5.0}])
    other = data(empty_run, "c", {}, [{"step": 1, "y": 7.0}])
    family = Family("f", (whole, short, other))
    assert family.series("x") == ([1, 2], [2.0, 3.5]), "no jump where the shorter run ends"
    assert family.series("y") == ([1], [7.0]), "a specialist alone has the curve of its domain"
    assert family.series("z") == ([], [])
    assert {"x", "y"} <= family.keys
