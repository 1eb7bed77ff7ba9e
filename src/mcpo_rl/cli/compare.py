"""`mcpo-rl compare`: several methods from one recipe, over seeds, on an equal budget."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mcpo_rl.comparison.methods import BUDGETS, METHODS
from mcpo_rl.errors import ConfigError, RunError

if TYPE_CHECKING:
    from mcpo_rl.comparison.plan import EarlierPlan, Plan, Task
    from mcpo_rl.config import Recipe

REFUSED = {
    "method": "name the methods with --methods",
    "seed": "name the seeds with --seeds",
    "output_dir": "say where the comparison goes with --output",
    "domains": "it trains on all domains of the problems",
}
"""Keys of a recipe that a comparison sets itself."""


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    methods = "\n".join(f"  {name:<22} {method.about}" for name, method in METHODS.items())
    parser = subparsers.add_parser(
        "compare",
        help="train several methods from one recipe, over seeds, and compare them",
        usage="mcpo-rl compare RECIPE|DIR [--methods A,B] [--seeds 0-4] [--output DIR] [--key value ...]",
        description="Train several methods from one recipe: same base, problems and order, equal rollouts and\n"
        "optimizer steps, several seeds. Ends with a table (mean, 95% interval over seeds, worst-domain gain, gain\n"
        "over single-domain training, cost) in comparison.json, .md and .tex. Any key of the recipe can be set as\n"
        "`--key value`. Ctrl-C stops with checkpoints; --resume, or naming the directory, goes on.\n\n"
        f"methods:\n{methods}",
        epilog="examples:\n"
        "  mcpo-rl compare demo --methods grpo,mcpo,single --seeds 0,1,2 --output runs/compare\n"
        "  mcpo-rl compare runs/compare --methods merge,pcgrad        add methods to it\n"
        "  mcpo-rl compare runs/compare --methods pcgrad --seeds 0-4  add a method at these seeds only\n"
        "  mcpo-rl compare my.yaml --methods grpo,mcpo --jobs 4 --max_steps 200\n"
        "  mcpo-rl compare demo --variants mine.yaml        with methods of your own; in mine.yaml for instance\n"
        "      strong: {base: mcpo, contrastive_grad_ratio: 0.6, label: MCPO strong}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(print_help=parser.print_help)
    parser.add_argument("recipe", metavar="RECIPE|DIR", help="a recipe, or the directory of a comparison to go on with")
    _add_options(parser)
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="--key value", help="change keys of the recipe")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", metavar="A,B", help="which (default: grpo,mcpo,single and all of --variants)")
    parser.add_argument(
        "--variants",
        type=Path,
        metavar="FILE",
        help="methods of your own in YAML: names, each with keys of the recipe and the `base` it builds on",
    )
    parser.add_argument(
        "--seeds",
        metavar="N,M-L",
        help="training seeds (default: 0,1,2); added to a comparison, those of the methods named with them, or of all",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: the recipe's output_dir with -compare")
    parser.add_argument(
        "--budget",
        choices=tuple(BUDGETS),
        help="what specialists get: the rollouts that the mixture gives their domain (per-domain, default), or as many "
        "as a run on the mixture gets in all (total)",
    )
    parser.add_argument("--order", metavar="A,B", help="the domains as `sequential` takes them (default: the recipe's)")
    parser.add_argument("--against", metavar="METHOD", help="what the others are held against (default: grpo)")
    parser.add_argument(
        "--target",
        type=float,
        metavar="X",
        help="accuracy that learning curves are to reach (default: halfway of what --against's gain)",
    )
    parser.add_argument(
        "--window", type=int, metavar="K", help="as a mean over the last K steps (default: a tenth of max_steps)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time; they share the GPUs or cores")
    parser.add_argument(
        "--launch", metavar="WORDS", help="launcher of each run, e.g. 'accelerate launch --num_processes 8'"
    )
    parser.add_argument(
        "--plan", action="store_true", help="write the plan and recipes, print the commands, run nothing"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the comparison in --output")
    parser.add_argument("--quiet", action="store_true", help="no progress")


class _Words(argparse.ArgumentParser):
    """Reads our options out of the words after the recipe; what is left are overrides."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def run(args: argparse.Namespace) -> int:
    """Plan, run what is not finished, and print the table; 1 where runs failed, 130 after Ctrl-C."""
    if {"-h", "--help"} & set(args.overrides):
        args.print_help()
        return 0
    words = _Words(add_help=False, allow_abbrev=False)
    _add_options(words)
    words.add_argument("--debug", action="store_true")
    # Into the same namespace: what was said before the recipe stays.
    _, overrides = words.parse_known_args(args.overrides, namespace=args)
    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}; it must be at least 1.")
    if args.target is not None and not 0 < args.target <= 1:
        raise ConfigError(f"--target is {args.target:g}; it is an accuracy, above 0 and at most 1.")
    if args.window is not None and args.window < 1:
        raise ConfigError(f"--window is {args.window}; it must be at least 1.")
    plan = _plan(args, overrides)

    from mcpo_rl.cli.compare_progress import plan_text, watching
    from mcpo_rl.comparison.processes import Processes
    from mcpo_rl.comparison.running import run_tasks

    launcher = shlex.split(args.launch or "")
    processes = Processes(plan, jobs=args.jobs, launcher=launcher, gpus=_gpus())
    if not args.quiet or args.plan:
        print(plan_text(plan, launched=bool(launcher)))
    plan.write()
    if args.plan:
        _print_commands(plan, launcher)
        _tables(plan, args)
        return 0
    with watching(plan, quiet=args.quiet) as watcher:
        ended = run_tasks(plan, processes, watcher, jobs=args.jobs)
    _tables(plan, args)
    for failure in ended.failed:
        print(f"mcpo-rl: error: {failure.task.name}: {failure.reason}", file=sys.stderr)
    if ended.interrupted or ended.failed:
        print(f"go on with:\n  mcpo-rl compare {shlex.quote(str(plan.path))}", file=sys.stderr)
    return 130 if ended.interrupted else 1 if ended.failed else 0


def _print_commands(plan: Plan, launcher: list[str]) -> None:
    """Print the command lines of what is not finished, in an order in which they can be run."""
    from mcpo_rl.comparison.outcomes import is_finished

    for task in plan.tasks:
        if not is_finished(plan, task):
            before = [*launcher, "-m", "mcpo_rl"] if launcher and task.kind == "train" else ["mcpo-rl"]
            print(shlex.join([*before, *plan.words(task)]))


def _tables(plan: Plan, args: argparse.Namespace) -> None:
    """Write the result of what has finished, and print it where something has."""
    from mcpo_rl.comparison.result import collect
    from mcpo_rl.comparison.table import save_tables, text

    result = collect(plan, reference=args.against, target=args.target, window=args.window)
    if not any(row.seeds for row in result.rows):
        return
    result.save()
    save_tables(result)
    print("", text(result), "", f"written: {plan.path}/comparison.json, .md, .tex", sep="\n")
    print(f"report:  mcpo-rl report {shlex.quote(str(plan.path))}")


def _plan(args: argparse.Namespace, overrides: list[str]) -> Plan:
    from collections import Counter

    from mcpo_rl.cli.trainer_config import training_config
    from mcpo_rl.cli.training_data import training_data
    from mcpo_rl.comparison.budget import Batch
    from mcpo_rl.comparison.planning import make_plan
    from mcpo_rl.comparison.variants import read_variants

    variants = read_variants(args.variants) if args.variants is not None else {}
    recipe, output, earlier = _recipe(args, overrides)
    config = training_config(recipe, output)
    batch = Batch(
        per_device=config.per_device_train_batch_size,
        accumulation=config.gradient_accumulation_steps,
        num_generations=config.num_generations,
        generation_batch=config.generation_batch_size,
        steps_per_generation=config.steps_per_generation,
        num_iterations=config.num_iterations,
        in_rollouts=recipe.training.get("generation_batch_size") is not None,
    )
    new = earlier is None
    plan = make_plan(
        output,
        recipe,
        batch,
        Counter(training_data(recipe.problems).dataset["domain"][:]),
        methods=_listed(args.methods) or [*(["grpo", "mcpo", "single"] if new else []), *variants],
        seeds=_seeds(args.seeds) or ([0, 1, 2] if new else []),
        budget=args.budget or (earlier.budget if earlier is not None else "per-domain"),
        order=_listed(args.order) or (earlier.order if earlier is not None else ()),
        variants=variants,
        earlier=earlier,
    )
    if args.against is not None and args.against not in plan.methods:
        raise ConfigError(f"--against {args.against}: the comparison has {', '.join(plan.methods)}.")
    # Every kind of run is checked before the first one starts, not when its turn comes.
    for task in plan.tasks:
        if task.kind == "train" and task.seed == plan.seeds_of(task.method)[0]:
            _check(plan, task)
    return plan


def _check(plan: Plan, task: Task) -> None:
    """Refuse what the trainer of a run would refuse; of a variant's keys it is said whose they are."""
    from mcpo_rl.cli.trainer_config import training_config
    from mcpo_rl.config import recipe_from_mapping

    variant = task.method in plan.variants
    where = f"variant `{task.method}`" if variant else task.name
    recipe = recipe_from_mapping(task.recipe, where=where)
    try:
        training_config(recipe, plan.run(task))
    except ConfigError as error:
        if not variant:
            raise
        raise ConfigError(f"{where}: {error}") from None


def _recipe(args: argparse.Namespace, overrides: list[str]) -> tuple[Recipe, Path, EarlierPlan | None]:
    """Return the recipe, the comparison's directory, and what that holds already."""
    from mcpo_rl.cli.sandbox_options import as_overrides
    from mcpo_rl.comparison.plan import read_plan
    from mcpo_rl.config import load_recipe, parse_overrides, recipe_from_mapping
    from mcpo_rl.config.overrides import assign

    changes = parse_overrides(as_overrides(overrides))
    for key in changes:
        if key in REFUSED:
            raise ConfigError(f"`--{key}` cannot be set in a comparison: {REFUSED[key]}.")
    named = Path(args.recipe)
    if named.is_dir():
        earlier = read_plan(named)
        if earlier is None:
            raise RunError(
                f"{named} is a directory without comparison.yaml; give a recipe, or a comparison's directory."
            )
        if args.output is not None and args.output.resolve() != named.resolve():
            raise ConfigError(f"--output {args.output}: {named} goes on where it is. Leave --output out.")
        content = earlier.as_recipe(named).to_mapping()
        for key, value in changes.items():
            assign(content, key, value)
        return recipe_from_mapping(content), named, earlier
    recipe = load_recipe(named, changes)
    output = args.output or Path(f"{recipe.output_dir}-compare")
    earlier = read_plan(output)
    if earlier is not None and not args.resume:
        raise RunError(f"{output} already holds a comparison. Go on with it with --resume, or give another --output.")
    if earlier is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RunError(f"{output} is not empty and holds no comparison. Give another --output.")
    return recipe, output, earlier


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _seeds(text: str | None) -> list[int]:
    seeds: list[int] = []
    for word in _listed(text):
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", word)
        own = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
        if not own:
            raise ConfigError(f"--seeds {text}: expected whole numbers and ranges of them, e.g. `0,1,2` or `0-4,7`.")
        seeds += own
    return seeds


def _gpus() -> list[str]:
    """Return the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import os

    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and torch.cuda.is_available():
        return _listed(visible)
    return [str(number) for number in range(torch.cuda.device_count())]
