"""Small comparisons as the study's runs leave them: two families a domain, 8 problems, 20 steps, known numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcpo_rl.comparison.budget import Batch
from mcpo_rl.comparison.plan import Plan, Task
from mcpo_rl.comparison.planning import make_plan
from mcpo_rl.comparison.result import collect
from mcpo_rl.comparison.table import save_tables
from mcpo_rl.config import recipe_from_mapping
from mcpo_rl.data.procedural.conventions import FAMILIES_USED
from mcpo_rl.data.sources.loading import load_problems
from mcpo_rl.runs import RolloutBatch, RunDirectory, directory
from mcpo_rl.scores import ProblemScore
from study.plan import SETTINGS

STEPS = 20
START = 8
"""Right samples of a problem's 16 before training."""
FACTS = {
    "status": "running",
    "platform": "Linux-6.1-some-host-x86_64",
    "machine": "x86_64",
    "cpus": 4,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "trl": "1.16.0"},
}

Right = Callable[[str, int, str | None, str, str], int]
"""Method, seed, the one domain trained on (or None), domain and family to the right samples of 16 after training."""


def entries(split: str) -> list[dict[str, Any]]:
    return [
        {"source": "procedural", "domain": domain, "split": split, "count": 8, "families": list(families)}
        for domain, families in FAMILIES_USED.items()
    ]


QUESTIONS = {
    domain: [
        (problem.prompt, problem.source)
        for entry in entries("train")
        if entry["domain"] == domain
        for problem in load_problems(entry)
    ]
    for domain in FAMILIES_USED
}


def make(runs: Path, setting: str, seeds: Mapping[str, int], right: Right, *, name: str | None = None) -> Plan:
    """Write a comparison whose runs have all finished.

    Args:
        runs: Where the comparisons lie.
        setting: Of `SETTINGS`.
        seeds: Method to its number of seeds.
        right: What the evaluations find.
        name: Of the comparison, where it is not the setting's.
    """
    recipe = recipe_from_mapping(
        {
            "model": str(runs / "models" / setting),
            "output_dir": "runs/x",
            "problems": entries("train"),
            "eval_problems": entries("heldout"),
            "mixture": {"weights": "equal"},
            "max_steps": STEPS,
            "num_generations": 4,
            "per_device_train_batch_size": 24,
            "gradient_accumulation_steps": 1,
        }
    )
    manifest = runs / "models" / setting / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    dials = {"shared": SETTINGS[setting].shared, "conflict": SETTINGS[setting].conflict}
    manifest.write_text(
        json.dumps({"config": {"dials": dials, "start": "/somewhere/study/skill"}, "created": "now", "parameters": 1})
    )
    batch = Batch(per_device=24, accumulation=1, num_generations=4, generation_batch=24, steps_per_generation=1)
    plan = make_plan(
        runs / (name or setting),
        recipe,
        batch,
        dict.fromkeys(FAMILIES_USED, 8),
        methods=list(seeds),
        seeds=range(max(seeds.values())),
    )
    plan.write()
    for task in plan.tasks:
        if task.seed < seeds[task.method]:
            finish(plan, task, right)
    result = collect(plan)
    result.save()
    save_tables(result)
    return plan


def record(right: Callable[[str, str], int]) -> str:
    scores = [
        ProblemScore(
            key=f"{family}-{place}",
            domain=domain,
            source=f"procedural/{family}",
            samples=16,
            correct=right(domain, family),
        )
        for domain, families in FAMILIES_USED.items()
        for family in families
        for place in range(2)
    ]
    told = {"format": 1, "model": "m", "settings": {"samples": 16}, "scores": [asdict(score) for score in scores]}
    return json.dumps(told)


def finish(plan: Plan, task: Task, right: Right) -> None:
    run = RunDirectory.create(plan.run(task), dict(task.recipe), resume=True)
    for line in lines(task):
        run.append_metrics(line)
    if task.method != "single":
        for step in (0, 10):
            run.write_rollouts(rollouts(step, term=task.method.startswith("mcpo")))
    after = record(lambda domain, family: right(task.method, task.seed, task.domain, domain, family))
    run.eval_file.write_text(after)
    run.start_eval_file.write_text(record(lambda domain, family: START))
    run.write_manifest(status="finished", data={"heldout": {"sha256": "same"}}, processes=1)


def lines(task: Task) -> Iterator[dict[str, Any]]:
    """Accuracies rise by 0.02 a step, with MCPO by 0.03; cosines are 0.1 per seed and step."""
    rise = 0.03 if task.method == "mcpo" else 0.02
    for step in range(1, STEPS + 1):
        line: dict[str, Any] = {"step": step, "num_tokens": 100.0 * step, "step_time": 0.5}
        for domain in FAMILIES_USED if task.domain is None else [task.domain]:
            line[f"domain/{domain}/share"] = 1 / 3 if task.domain is None else 1.0
            line[f"domain/{domain}/accuracy"] = 0.2 + rise * step
        if task.method == "grpo" and step % 5 == 0:
            line["interference/cosine/code/math"] = 0.01 * step + 0.1 * task.seed
            line["interference/cosine/code/logic"] = 0.0
            line["interference/cosine/logic/math"] = -0.1
        if task.method == "mcpo":
            line |= {"contrastive/anchors": 0.0 if step == 1 else 6.0, "contrastive/grad_ratio": 0.2}
            line |= {"contrastive/positives": 12.0, "contrastive/policy_grad_norm": 1.0}
        yield line


def rollouts(step: int, *, term: bool) -> RolloutBatch:
    """Two prompts a domain (one of each family), two rollouts each: the first careful in math's words and right."""
    prompts, domains, ids = [], [], []
    for domain, questions in QUESTIONS.items():
        for prompt, _ in questions[:2]:
            prompts += [prompt, prompt]
            domains += [domain, domain]
            ids += [len(ids) // 2] * 2
    correct = [place % 2 == 0 for place in range(12)]
    features = np.random.default_rng(step).normal(size=(12, 4)).astype(np.float32)
    return RolloutBatch(
        step=step,
        prompts=prompts,
        completions=["steps:\n1\n#### 1" if right else "brief:\n#### 2" for right in correct],
        domains=domains,
        prompt_ids=ids,
        rewards=[float(right) for right in correct],
        correct=correct,
        usable=[True] * 12,
        features=features,
        positives=[[(place + 4) % 12] if term and right else [] for place, right in enumerate(correct)],
        term={"temperature": 0.1} if term else {},
    )


def right_by_setting(setting: str) -> Right:
    """GRPO gains 4 of 16; MCPO one more, at seed 1 two. Mathematics alone helps, harms or leaves the others alone."""
    carried = {"shared": 4, "conflict": -4, "apart": 0, "middle": 0}[setting]

    def right(method: str, seed: int, trained: str | None, domain: str, family: str) -> int:
        if method == "single":
            own = 4 if trained == domain else carried if trained == "math" else 0
            return START + own + (seed == 1)
        return START + 4 + (seed == 2) + (0 if method == "grpo" else 1 + (seed == 1))

    return right


METHODS = {
    "shared": ("grpo", "mcpo", "single"),
    "middle": ("grpo", "mcpo", "single"),
    "conflict": ("grpo", "mcpo", "single", "mcpo-cosine"),
    "apart": ("grpo", "single"),
}
"""The comparisons of `runs`."""


def make_all(runs: Path, settings: Iterable[str]) -> None:
    """Write the study's comparisons at some of its settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "starting_facts", lambda: dict(FACTS))
        for setting in settings:
            make(runs, setting, dict.fromkeys(METHODS[setting], 3), right_by_setting(setting))


@pytest.fixture
def making() -> Callable[[Path, Iterable[str]], None]:
    """`make_all`, for tests with runs of their own."""
    return make_all


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's comparisons. Read only: they are shared."""
    folder = tmp_path_factory.mktemp("study") / "runs"
    make_all(folder, METHODS)
    return folder


@pytest.fixture(scope="session")
def results(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`results/` of them, without figures."""
    from study.results.collecting import collect as collect_results

    folder = tmp_path_factory.mktemp("results") / "results"
    assert collect_results(runs, folder) == []
    return folder
