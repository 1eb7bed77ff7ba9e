"""`mcpo-rl merge`: one model out of specialists, evaluated on their held-out problems."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.cli.eval import model_path
from mcpo_rl.errors import ConfigError, RunError

if TYPE_CHECKING:
    from mcpo_rl.config import Recipe
    from mcpo_rl.models.merging import MergeOptions, MergeReport
    from mcpo_rl.runs import RunDirectory
    from mcpo_rl.scores import EvaluationRecord

SHARED = ("model", "eval_problems", "evaluation", "dtype", "seed")
"""Keys that the recipes of merged runs have to agree in: what they started from, and how they are evaluated."""


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "merge",
        help="merge the weights of runs that started from the same model",
        description="Merge models that were trained from the same base: their weight deltas are put together and\n"
        "added to the base. Of run directories it makes a run directory, with the merged model in `model` and its\n"
        "evaluation on the runs' held-out problems in `eval.json`. With --base it merges models of any kind (LoRA\n"
        "too) into a model directory.",
        epilog="examples:\n"
        "  mcpo-rl merge runs/math runs/code runs/logic --output runs/merged --form ties\n"
        "  mcpo-rl merge --base Qwen/Qwen3-0.6B math-model code-lora --output merged-model",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("models", nargs="+", metavar="RUN", help="run directories; with --base models of any kind")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the result goes")
    parser.add_argument("--form", default="average", help="average (default), ties, dare or dare-ties")
    parser.add_argument("--density", type=float, metavar="P", help="share of each delta kept: ties 0.2, dare 0.5")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="factor on the combined delta (1)")
    parser.add_argument("--weights", metavar="A,B,...", help="one number > 0 for each model (default: all alike)")
    parser.add_argument("--merge-seed", type=int, default=0, metavar="N", help="seed of what DARE drops (0)")
    parser.add_argument("--base", metavar="M", help="what all models were trained from")
    parser.add_argument("--resume", action="store_true", help="go on with an --output that was not finished")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Merge; of runs also evaluate."""
    weights = None if args.weights is None else _numbers(args.weights)
    from mcpo_rl.models.merging import MergeOptions

    options = MergeOptions(
        form=args.form, density=args.density, scale=args.scale, weights=weights, seed=args.merge_seed
    )
    if args.base is not None:
        models = [model_path(name) for name in args.models]
        print(_described(_merged(args.base, models, args.output, options, quiet=args.quiet)))
        print(f"model: {args.output}")
        return 0
    result = _merge_runs([Path(name) for name in args.models], args.output, options, args)
    print(result)
    print(f"run:    {args.output}")
    return 0


def _merge_runs(
    paths: Sequence[Path], output: Path, options: MergeOptions, args: argparse.Namespace
) -> EvaluationRecord:
    """Return the evaluation of the merged model."""
    from dataclasses import asdict

    from mcpo_rl.runs import RunDirectory
    from mcpo_rl.scores import EvaluationRecord

    runs = [_finished(path) for path in paths]
    recipe = _shared_recipe(runs)
    own = {key: value for key, value in asdict(options).items() if value is not None}
    config = {"method": "merge", "runs": [str(path) for path in paths], "merge": own, **_kept(recipe)}
    if len(runs) < 2:
        raise ConfigError(f"merging takes two models or more; {len(runs)} given.")
    options.coefficients(len(runs))
    fresh = not (output / "manifest.json").exists()
    made = RunDirectory.create(output, config, resume=args.resume)

    from mcpo_rl.cli.heldout import evaluate_model_of, heldout_problems
    from mcpo_rl.cli.recording import recorded, removed_if_refused
    from mcpo_rl.cli.sandbox_options import use_recipe_sandbox
    from mcpo_rl.cli.trainer_config import training_config
    from mcpo_rl.runs.manifest import data_fingerprint

    with recorded(made):
        if (made.path / "model").is_dir() and made.eval_file.is_file():
            made.write_manifest(status="finished")
            return EvaluationRecord.read(made.eval_file)
        use_recipe_sandbox(recipe.sandbox)
        problems = heldout_problems(recipe)
        data = {"heldout": data_fingerprint(problems)}
        made.write_manifest(method="merge", seed=recipe.seed, model=recipe.model, data=data, processes=1)
        if not (made.path / "model").is_dir():
            models = [str(run.path / "model") for run in runs]
            with removed_if_refused(made, active=fresh):
                print(_described(_merged(recipe.model, models, made.path / "model", options, quiet=args.quiet)))
        settings = training_config(recipe, made.checkpoints)
        result = evaluate_model_of(made, problems, recipe, settings, quiet=args.quiet)
        made.write_manifest(status="finished", step=0)
    return result


def _finished(path: Path) -> RunDirectory:
    from mcpo_rl.runs import RunDirectory

    run = RunDirectory.open(path)
    if not (path / "model").is_dir() or not run.config_file.is_file():
        raise RunError(f"{path} has no `model` yet: let the run finish first. For plain models name their --base.")
    return run


def _shared_recipe(runs: Sequence[RunDirectory]) -> Recipe:
    """Return the recipe that says what all runs started from and how they are evaluated."""
    from dataclasses import replace

    from mcpo_rl.config import recipe_from_mapping

    read = [recipe_from_mapping(run.read_config(), where=str(run.config_file)) for run in runs]
    # Whether one of them also evaluated what it started from changes nothing of how they are evaluated.
    recipes = [replace(recipe, evaluation=replace(recipe.evaluation, before=False)) for recipe in read]
    for key in SHARED:
        values = [getattr(recipe, key) for recipe in recipes]
        other = next((place for place, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise ConfigError(
                f"{runs[0].path} and {runs[other].path} differ in `{key}`, so they cannot be merged into one run. "
                "With --base their models can."
            )
    if not recipes[0].eval_problems:
        raise ConfigError(f"{runs[0].path} has no held-out problems (`eval_problems`). With --base models are merged.")
    return recipes[0]


def _kept(recipe: Recipe) -> dict[str, Any]:
    """Return what the merged run's config says beside how it was made."""
    mapping = recipe.to_mapping()
    return {key: mapping[key] for key in SHARED} | {"sandbox": recipe.sandbox}


def _merged(base: str, models: Sequence[str], output: Path, options: MergeOptions, *, quiet: bool) -> MergeReport:
    from mcpo_rl.cli.progress import progress_of
    from mcpo_rl.models.merging import merge_models

    if quiet:
        return merge_models(base, models, output, options)
    with progress_of("merge", "tensors") as progress:
        return merge_models(base, models, output, options, progress=progress)


def _described(report: MergeReport) -> str:
    """Return how long the deltas are and how they lie to each other."""
    lines = [f"{'delta of':<40}  {'norm':>10}  cosine to the others"]
    for place, (name, norm) in enumerate(zip(report.models, report.norms, strict=True)):
        others = [f"{value:+.3f}" for other, value in enumerate(report.cosines[place]) if other != place]
        lines.append(f"{name[-40:]:<40}  {norm:>10.4g}  {' '.join(others)}")
    lines.append(f"weights where two of the kept deltas have opposite signs: {report.sign_conflict:.1%}")
    return "\n".join(lines)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--weights {text}: expected numbers, e.g. `1,1,2`.") from None
