"""From a recipe to the plan of a comparison: every method gets the same base, problems, order and budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mcpo_rl.comparison.budget import (
    Batch,
    Part,
    domain_shares,
    moves,
    one_domain_mixture,
    reacts,
    specialist_part,
    stage_parts,
)
from mcpo_rl.comparison.methods import BUDGETS, Method, methods_of
from mcpo_rl.comparison.plan import EarlierPlan, Plan, Task
from mcpo_rl.comparison.variants import Variants, known_methods
from mcpo_rl.config import Recipe
from mcpo_rl.errors import ConfigError
from mcpo_rl.runs.manifest import is_secret


def make_plan(
    path: Path,
    recipe: Recipe,
    batch: Batch,
    rows: Mapping[str, int],
    *,
    methods: Sequence[str],
    seeds: Sequence[int],
    budget: str = "per-domain",
    order: Sequence[str] = (),
    variants: Variants | None = None,
    earlier: EarlierPlan | None = None,
) -> Plan:
    """Plan a comparison.

    Args:
        path: The comparison's directory.
        recipe: What every method has in common. Its `method`, `seed`, `domains` and `output_dir` are replaced.
        batch: Its batch.
        rows: Domain to its number of problems.
        methods: Names of `METHODS` and of variants; those that others are made from are added.
        seeds: None twice. With `earlier` those that the methods named get beside what is planned: none named, all
            planned methods; no seeds, the methods that are not planned yet get all of the comparison.
        budget: One of `BUDGETS`.
        order: The domains, as `sequential` goes through them; empty takes the order of `rows`.
        variants: Definitions of methods that are not built in.
        earlier: The comparison that goes on; its methods, seeds and variants stay.

    Raises:
        ConfigError: Something that cannot be compared; the message says what to change.
        RunError: Another comparison than the earlier one.
    """
    variants = {**(earlier.variants if earlier is not None else {}), **(variants or {})}
    known = known_methods(variants)
    names = methods_of([*(earlier.methods if earlier is not None else ()), *methods], known)
    steps = _check(recipe, budget)
    own_seeds = _seeds(names, known, methods, seeds, earlier)
    seeds = sorted({seed for own in own_seeds.values() for seed in own})
    shares = domain_shares(recipe.training.get("mixture"), rows)
    if recipe.peft is not None and any(known[name].kind == "sequential" for name in names):
        raise ConfigError(
            "`sequential` cannot go on from a LoRA: the next stage's would name the first model as its base. Leave out "
            "`sequential`, or `peft`."
        )
    if len(shares) < 2:
        raise ConfigError(
            f"a comparison of methods for several domains needs two; this recipe has {', '.join(shares)}."
        )
    order = tuple(order) or tuple(shares)
    if sorted(order) != sorted(shares):
        raise ConfigError(f"--order {','.join(order)}: expected each of {', '.join(shares)} once.")
    left_out = ("method", "seed", "domains", "output_dir")
    base = {key: value for key, value in recipe.to_mapping().items() if key not in left_out}
    planning = _Planning(path, base, batch, steps, shares, order, budget, known)
    tasks = [task for seed in seeds for name in names if seed in own_seeds[name] for task in planning.tasks(name, seed)]
    firsts = {seed: next(t.name for t in tasks if t.seed == seed and t.kind == "train") for seed in seeds}
    starts = firsts | dict(earlier.starts if earlier is not None else {})
    plan = Plan(
        path=path,
        recipe=base,
        methods=tuple(names),
        seeds=tuple(seeds),
        budget=budget,
        order=order,
        starts=starts,
        shares=shares,
        steps=steps,
        rollouts_per_step=batch.rollouts_per_step,
        tasks=tuple(_measuring_start(task) if task.name in starts.values() else task for task in tasks),
        remarks=tuple(planning.remarks(names)),
        variants=variants,
        own_seeds={name: tuple(own) for name, own in own_seeds.items() if own != seeds},
    )
    if earlier is not None:
        earlier.check(plan)
    return plan


@dataclass(frozen=True)
class _Planning:
    path: Path
    base: Mapping[str, Any]
    batch: Batch
    steps: int
    shares: Mapping[str, float]
    order: tuple[str, ...]
    budget: str
    known: Mapping[str, Method]

    def tasks(self, name: str, seed: int) -> list[Task]:
        method = self.known[name]
        place = f"{name}/seed_{seed}"
        if method.kind == "mixed":
            return [self._train(place, name, seed, Part(steps=self.steps, share=1.0, changes={}))]
        if method.kind == "merge":
            specialists = tuple(_place(f"{method.needs}/seed_{seed}", domain) for domain in self.order)
            return [Task(name=place, method=name, seed=seed, kind="merge", recipe=method.changes, needs=specialists)]
        if method.kind == "single":
            parts = {d: specialist_part(self.batch, self.steps, self.shares[d], self.budget) for d in self.order}
            return [self._train(_place(place, d), name, seed, part, domain=d) for d, part in parts.items()]
        stages: list[Task] = []
        for domain, part in stage_parts(self.steps, {d: self.shares[d] for d in self.order}).items():
            last = stages[-1].name if stages else None
            stages.append(self._train(_place(place, domain), name, seed, part, domain=domain, after=last))
        return stages

    def _train(
        self, place: str, name: str, seed: int, part: Part, *, domain: str | None = None, after: str | None = None
    ) -> Task:
        run = self.path / "runs" / place
        recipe: dict[str, Any] = {**self.base, **self.known[name].changes, **part.changes}
        recipe |= {"output_dir": str(run), "seed": seed, "run_name": f"{self.path.name}/{place}"}
        if "head_seed" not in recipe:
            recipe["head_seed"] = seed  # where the head starts from is a part of what a seed changes
        # One run per seed evaluates the model that all start from; `collect` hands it to the others.
        recipe["evaluation"] = dict(self.base["evaluation"]) | {"before": False}
        if (probe := self.base.get("probe")) and not (probe["completions"] or probe["problems"]):
            # Named, every run draws them alike; else the one that evaluates the start would take those answers.
            recipe["probe"] = {**probe, "problems": self.base["eval_problems"]}
        if domain is not None:
            recipe["domains"] = [domain]
            if "mixture" in recipe:
                recipe["mixture"] = one_domain_mixture(recipe["mixture"])
        if after is not None:
            recipe["model"] = str(self.path / "runs" / after / "model")
        needs = () if after is None else (after,)
        return Task(
            name=place,
            method=name,
            seed=seed,
            domain=domain,
            recipe=recipe,
            needs=needs,
            steps=part.steps,
            rollouts_per_step=part.share * self.batch.rollouts_per_step,
            generations_per_step=self.batch.generations_per_step,
        )

    def remarks(self, names: Sequence[str]) -> Iterator[str]:
        """Yield what is not equal between the methods, for people."""
        mixture = self.base.get("mixture")
        if reacts(mixture):
            yield (
                "The mixture reacts to how the model does (resampling or an adaptive curriculum): the methods see the "
                "same problems, but not in the same order."
            )
        apart = [name for name in names if self.known[name].kind in ("single", "sequential")]
        if not apart:
            return
        if moves(mixture):
            yield (
                "The shares of the domains change during training; what a specialist or a stage gets follows the "
                "weights that the mixture begins with."
            )
        if mixture is None:
            yield (
                "Without `mixture` all rows are shuffled: the shares of the domains are those of the rows on average, "
                "and specialists see their problems in an order of their own. `mixture: {weights: proportional}` would "
                "keep both."
            )
        if "single" in apart and self.budget == "per-domain":
            parts = {d: specialist_part(self.batch, self.steps, self.shares[d], self.budget) for d in self.order}
            shorter = {domain: part.steps for domain, part in parts.items() if part.share == 1.0}
            if shorter:
                yield (
                    f"A batch of {self.batch.prompts} prompts cannot be cut to the share of "
                    f"{', '.join(shorter)}: these specialists take fewer optimizer steps on whole batches "
                    f"({', '.join(f'{domain} {count}' for domain, count in shorter.items())} of {self.steps})."
                )


def _measuring_start(task: Task) -> Task:
    recipe = {**task.recipe, "evaluation": task.recipe["evaluation"] | {"before": True}}
    return replace(task, recipe=recipe)


def _place(parent: str, domain: str) -> str:
    # Dots too: `..` is a folder of its own.
    return f"{parent}/{quote(domain, safe='').replace('.', '%2E')}"


def _seeds(
    names: Sequence[str],
    known: Mapping[str, Method],
    asked: Sequence[str],
    seeds: Sequence[int],
    earlier: EarlierPlan | None,
) -> dict[str, list[int]]:
    """Return the seeds of every method, ascending: what is planned, and what is asked for beside it.

    Args:
        names: All methods.
        known: What they are.
        asked: The methods that were named now.
        seeds: The seeds that were named now.
        earlier: The comparison that goes on.
    """
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds) or not (seeds or earlier):
        raise ConfigError(f"the seeds are {', '.join(map(str, seeds)) or 'none'}; expected different numbers >= 0.")
    own = {name: set(earlier.seeds_of(name)) if earlier is not None else set() for name in names}
    for name in methods_of(asked, known) if asked else names:
        if seeds or not own[name]:
            own[name] |= {*seeds} or {*(earlier.seeds if earlier is not None else ())}
    for name, needed in ((name, known[name].needs) for name in names):
        if needed is not None:
            own[needed] |= own[name]
    return {name: sorted(values) for name, values in own.items()}


def _check(recipe: Recipe, budget: str) -> int:
    """Return S."""
    steps = recipe.training.get("max_steps", -1)
    if not isinstance(steps, int) or steps < 1:
        raise ConfigError(
            f"`max_steps` is {steps!r}: a comparison gives every method the same number of optimizer steps. Set it, "
            "e.g. `--max_steps 200`."
        )
    if not recipe.eval_problems:
        raise ConfigError("`eval_problems` is empty: methods are compared on held-out problems. List some.")
    if budget not in BUDGETS:
        raise ConfigError(f"the budget is {budget!r}; expected one of {', '.join(BUDGETS)}.")
    secret = next((key for key, value in recipe.training.items() if is_secret(key) and value), None)
    if secret is not None:
        raise ConfigError(f"`{secret}` is set, and recipes are written to disk. Give it in the environment (HF_TOKEN).")
    if recipe.domains is not None:
        raise ConfigError("`domains` is set: a comparison trains on all domains of the problems. Leave it out.")
    return steps
