"""`mcpo-rl train`: one run from one recipe."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from mcpo_rl.cli.ranks import number_of_ranks
from mcpo_rl.cli.sandbox_options import as_overrides

SWITCHES = ("--resume", "--quiet", "--debug")


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "train",
        help="train from a recipe",
        usage="mcpo-rl train RECIPE [--key value ...] [--resume] [--quiet] [--debug]",
        description="Train from a recipe: a YAML file, or the name of one that comes with the package (demo).\n"
        "Any key of the recipe can be set as `--key value`, parts of one with dots.\n"
        "--min-level N and --remote URL are short for --sandbox.min_level and --sandbox.remote (see mcpo-rl doctor).\n"
        "Ctrl-C writes a checkpoint; --resume goes on from it, also on another number of ranks that take as many\n"
        "rollouts in all.",
        epilog="examples:\n"
        "  mcpo-rl train recipes/demo.yaml --max_steps 20 --output_dir runs/short\n"
        "  mcpo-rl train demo --method grpo --problems.0.count 200 --output_dir runs/grpo\n"
        "  accelerate launch --config_file recipes/accelerate/fsdp2.yaml -m mcpo_rl train \\\n"
        "      recipes/qwen3-4b-math-code-logic.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(print_help=parser.print_help)
    parser.add_argument("--resume", action="store_true", help="continue from the run's last complete checkpoint")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="--key value", help="change keys of the recipe")


def run(args: argparse.Namespace) -> int:
    """Train; 130 if it was stopped by Ctrl-C, after a checkpoint."""
    if {"-h", "--help"} & set(args.overrides):
        args.print_help()
        return 0
    # Everything after the recipe is an override to argparse, so this command's own switches are picked out by hand.
    switches = {word for word in args.overrides if word in SWITCHES}
    overrides = as_overrides([word for word in args.overrides if word not in SWITCHES])
    resume, quiet = args.resume or "--resume" in switches, args.quiet or "--quiet" in switches
    args.debug = args.debug or "--debug" in switches

    from mcpo_rl.config import load_recipe

    recipe = load_recipe(args.recipe, overrides)

    from mcpo_rl.cli.training import run_training

    outcome = run_training(recipe, resume=resume, quiet=quiet)
    if not outcome.is_main_process:
        return 130 if outcome.interrupted else 0
    if outcome.interrupted:
        again = shlex.join(["train", args.recipe, *overrides, "--resume"])
        several = number_of_ranks() > 1
        how = "the launch line of before, which ends in:\n  -m mcpo_rl" if several else "\n  mcpo-rl"
        print(f"stopped at step {outcome.step}; continue with{' ' if several else ':'}{how} {again}", file=sys.stderr)
        return 130
    if outcome.evaluation is not None:
        print(outcome.evaluation)
    if outcome.feature_source is not None:
        print(f"pool:   hidden states from {outcome.feature_source} (feature_source)")
    print(f"run:    {outcome.path}")
    print(f"report: mcpo-rl report {shlex.quote(str(outcome.path))}")
    return 0
