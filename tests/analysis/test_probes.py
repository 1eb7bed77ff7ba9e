"""The geometry in the report: from metrics of training, or from a probe that was recorded afterwards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from mcpo_rl.analysis.explorer.probe_map import probe_runs
from mcpo_rl.analysis.reading.loading import load_runs
from mcpo_rl.analysis.reading.seeds import families
from mcpo_rl.analysis.sections.palette import domain_colours
from mcpo_rl.analysis.sections.probes import MOST_SINGLE, geometry_section, in_words
from mcpo_rl.runs import RunDirectory
from mcpo_rl.runs.probe import ProbeDirectory, ProbeSet, ProbeState

COLOURS = domain_colours(["math", "code"])
Empty = Callable[[str], RunDirectory]


def probed(empty_run: Empty, name: str = "run", last: float = 0.8) -> Path:
    run = empty_run(name)
    for step, value in ((0, 0.9), (20, last)):
        run.append_metrics(
            {
                "step": step,
                "probe/separability": value,
                "probe/overlap": 1 - value,
                "probe/overlap/math": 1 - value,
                "probe/overlap/code": 1 - value,
                "probe/cka": value + 0.1,
                "probe/distance/code/math": 2 * value,
                "probe/verdict_transfer": value,
                "probe/verdict_transfer/code/math": value,
            }
        )
    return run.path


def test_words_go_from_the_first_to_the_last_checkpoint(empty_run: Empty) -> None:
    (family,) = families(load_runs([probed(empty_run)]))
    assert in_words(family) == (
        "domains are told apart with accuracy 0.90 at first, 0.80 at the end; overlap of the domains' correct rollouts "
        "(1 is chance) 0.10 at first, 0.20 at the end; what marks a correct rollout carries over to another domain "
        "with AUC 0.90 at first, 0.80 at the end; CKA with the start 0.90."
    )


def test_figures(empty_run: Empty) -> None:
    section = geometry_section(families(load_runs([probed(empty_run)])), COLOURS)
    overall, by_domain = section.groups
    assert [panel.title for panel in overall.panels][:2] == [
        "Told apart: separability",
        "Together: overlap of correct rollouts",
    ]
    titles = {panel.title: panel for panel in by_domain.panels}
    distances = titles["Distance between domains"].figure["data"][0]
    assert distances["z"] == [[None, 1.6], [1.6, None]] and distances["text"][0][1] == "1.80<br>→ 1.60"
    transfer = titles["Shared sense of correct"].figure["data"][0]
    assert transfer["z"] == [[None, None], [pytest.approx(0.3), None]], (
        "learned on code, judged on math; not the other way"
    )
    assert len([trace for trace in titles["Overlap"].figure["data"] if trace["showlegend"]]) == 2
    for group in section.groups:
        for panel in group.panels:
            go.Figure(panel.figure)


def test_of_many_runs_only_what_they_have_in_common(empty_run: Empty) -> None:
    paths = [probed(empty_run, f"run{number}") for number in range(MOST_SINGLE + 1)]
    section = geometry_section(families(load_runs(paths)), COLOURS)
    assert len(section.groups) == 1 and len(section.legend) == MOST_SINGLE + 1
    assert "Reports about fewer runs" in section.reading


def test_no_probe_is_said(empty_run: Empty) -> None:
    section = geometry_section(families(load_runs([empty_run("run").path])), COLOURS)
    assert section.empty and "mcpo-rl probe" in section.missing


def test_a_probe_recorded_after_training(empty_run: Empty) -> None:
    run = empty_run("run")
    run.append_metrics({"step": 1, "loss": 0.1})
    count = 24
    rollouts = ProbeSet(
        prompts=[f"p{row // 2}" for row in range(count)],
        completions=["c"] * count,
        domains=[("math", "code")[row // 2 % 2] for row in range(count)],
        keys=[f"k{row // 2}" for row in range(count)],
        verdicts=[("correct", "incorrect")[row % 2] for row in range(count)],
        truncated=[False] * count,
    )
    probe = ProbeDirectory(run.path / "probe")
    probe.write_set(rollouts)
    generator = np.random.default_rng(0)
    shift = np.array([[10.0 if domain == "math" else -10.0] + [0.0] * 5 for domain in rollouts.domains])
    for step in (0, 10):
        features = (generator.normal(size=(count, 6)) + shift).astype(np.float32)
        probe.write_state(ProbeState(step=step, features=features, fingerprint=rollouts.fingerprint))
    (family,) = families(load_runs([run.path]))
    assert family.series("probe/separability") == ([0, 10], [1.0, 1.0]), "domains that lie 20 apart"
    assert family.series("loss") == ([1], [0.1])
    assert family.runs[0].probe_set == rollouts.fingerprint and not family.runs[0].remarks

    # What is damaged is said, also where the numbers are in the metrics already.
    run.append_metrics({"step": 10, "probe/overlap": 0.5})
    state = probe.path / "step_000010.parquet"
    state.write_bytes(state.read_bytes()[:200])
    damaged = load_runs([run.path])
    probe_runs(damaged, ["math", "code"])
    assert len(damaged[0].remarks) == 1 and "step_000010.parquet" in damaged[0].remarks[0]
    probe.set_file.write_bytes(b"PAR1")
    assert any("set.parquet" in remark for remark in load_runs([run.path])[0].remarks)
