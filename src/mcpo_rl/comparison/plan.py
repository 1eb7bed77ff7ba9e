"""The plan of a comparison: its runs, what each is, and which waits for which; and its files on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from mcpo_rl.comparison.methods import Method
from mcpo_rl.comparison.variants import Variants, essence, known_methods
from mcpo_rl.config import Recipe, parse_yaml, recipe_from_mapping
from mcpo_rl.errors import RunError
from mcpo_rl.runs.agreement import describe, differences
from mcpo_rl.runs.files import write_text
from mcpo_rl.runs.manifest import plain

PLAN_FILE = "comparison.yaml"

_DECISIVE = ("max_steps", "num_train_epochs", "batch_size", "gradient_accumulation_steps", "steps_per_generation")
"""What a single run may change when it goes on, and a comparison may not: its runs would not be equal any more."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One command: a training run, or the merging of finished ones."""

    name: str
    """`mcpo/seed_0` or `single/seed_0/math`: its place under `runs`, `recipes` and `logs`."""
    method: str
    seed: int
    domain: str | None = None
    """The one domain that it trains; None: all."""
    kind: Literal["train", "merge"] = "train"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """For `train`: the recipe. For `merge`: the options of `mcpo-rl merge`."""
    needs: tuple[str, ...] = ()
    """Tasks that have to be finished first; those that `merge` merges."""
    steps: int = 0
    """Optimizer steps."""
    rollouts_per_step: float = 0.0
    """On one process; new ones per optimizer step."""
    generations_per_step: float = 1.0
    """Generation batches per optimizer step."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a comparison runs."""

    path: Path
    """The comparison's directory."""
    recipe: Mapping[str, Any]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    """All of the comparison."""
    budget: str
    """One of `BUDGETS`."""
    order: tuple[str, ...]
    """The domains, as `sequential` trains them one after the other."""
    starts: Mapping[int, str]
    """Seed to the task that evaluates the model that all runs start from."""
    shares: Mapping[str, float]
    """Domain to its share of the mixture."""
    steps: int
    """Optimizer steps of a run on the mixture."""
    rollouts_per_step: float
    """Of a run on the mixture, on one process."""
    tasks: tuple[Task, ...]
    """In an order in which they can be run one after the other."""
    remarks: tuple[str, ...] = ()
    """What makes the comparison less than equal, for people."""
    variants: Variants = field(default_factory=dict)
    """Definitions of the methods that are not built in."""
    own_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The seeds of methods that do not run at all of `seeds`."""

    @cached_property
    def _known(self) -> dict[str, Method]:
        return known_methods(self.variants)

    def method(self, name: str) -> Method:
        """Return a method of the comparison, built in or a variant."""
        return self._known[name]

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """Return the seeds at which a method runs."""
        return self.own_seeds.get(method, self.seeds)

    def run(self, task: Task | str) -> Path:
        """Return the run directory of a task."""
        return self.path / "runs" / (task if isinstance(task, str) else task.name)

    def recipe_file(self, task: Task) -> Path:
        """Return where the recipe of a task lies."""
        return self.path / "recipes" / f"{task.name}.yaml"

    def log(self, task: Task) -> Path:
        """Return where what a task prints goes."""
        return self.path / "logs" / f"{task.name}.log"

    def words(self, task: Task) -> list[str]:
        """Return the command line of a task, after `mcpo-rl`."""
        if task.kind == "train":
            return ["train", str(self.recipe_file(task)), "--resume", "--quiet"]
        options = [word for key, value in task.recipe.items() for word in (f"--{key}", str(value))]
        runs = [str(self.run(name)) for name in task.needs]
        return ["merge", *runs, "--output", str(self.run(task)), *options, "--resume", "--quiet"]

    def of(self, method: str, seed: int) -> list[Task]:
        """Return the tasks of a method at a seed, in order."""
        return [task for task in self.tasks if task.method == method and task.seed == seed]

    def write(self) -> None:
        """Write the plan and the recipe of every run.

        Raises:
            RunError: A file could not be written.
        """
        facts = {
            "methods": list(self.methods),
            "seeds": list(self.seeds),
            **({"own_seeds": {name: list(own) for name, own in self.own_seeds.items()}} if self.own_seeds else {}),
            **({"variants": plain(self.variants)} if self.variants else {}),
            "budget": self.budget,
            "order": list(self.order),
            "starts": {seed: self.starts[seed] for seed in self.seeds},
            "recipe": plain(self.recipe),
        }
        for task in self.tasks:
            if task.kind == "train":
                write_text(self.recipe_file(task), _yaml(plain(task.recipe)))
        write_text(self.path / PLAN_FILE, _yaml(facts))


@dataclass(frozen=True, kw_only=True)
class EarlierPlan:
    """What comparison.yaml of a comparison that goes on says."""

    recipe: Mapping[str, Any]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: str
    order: tuple[str, ...]
    starts: Mapping[int, str]
    variants: Variants = field(default_factory=dict)
    own_seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """Return the seeds at which a method was planned; none for one that was not."""
        return self.own_seeds.get(method, self.seeds) if method in self.methods else ()

    def as_recipe(self, path: Path) -> Recipe:
        """Return the recipe, to be compared in `path`."""
        return recipe_from_mapping({**self.recipe, "output_dir": str(path)}, where=str(path / PLAN_FILE))

    def check(self, plan: Plan) -> None:
        """Refuse to go on with another comparison.

        Raises:
            RunError: What differs.
        """
        before = {"recipe": self.recipe, "budget": self.budget, "order": list(self.order)}
        now = {"recipe": plan.recipe, "budget": plan.budget, "order": list(plan.order)}
        blocking, harmless = differences(before, now)
        changed = blocking | {key: was for key, was in harmless.items() if key.endswith(_DECISIVE)}
        for definitions in differences(self._planned(self.variants), self._planned(plan.variants)):
            changed |= definitions
        if changed:
            raise RunError(
                f"{plan.path} holds another comparison: {describe(changed)}. Go on with the same values (methods and "
                "seeds may be added), or give another --output."
            )

    def _planned(self, variants: Variants) -> dict[str, Any]:
        """Return what decides how those of the variants are trained that runs are planned of: labels may change."""
        own = {name: essence(definition) for name, definition in variants.items() if name in self.methods}
        return {"variants": own} if own else {}


def read_plan(path: Path) -> EarlierPlan | None:
    """Return what the comparison in `path` is; None where there is none.

    Raises:
        RunError: The file is damaged.
    """
    file = path / PLAN_FILE
    if not file.is_file():
        return None
    facts = parse_yaml(file.read_text(encoding="utf-8"), where=str(file))
    try:
        return EarlierPlan(
            recipe=dict(facts["recipe"]),
            methods=tuple(facts["methods"]),
            seeds=tuple(facts["seeds"]),
            budget=facts["budget"],
            order=tuple(facts["order"]),
            starts=dict(facts["starts"]),
            variants=dict(facts.get("variants", {})),
            own_seeds={str(name): tuple(own) for name, own in facts.get("own_seeds", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} is not the plan of a comparison ({error!r}). Give another --output.") from error


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
