"""`mcpo-rl coldstart`: make the bundled base model, from scratch and from a seed."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import ConfigError, RunError

if TYPE_CHECKING:
    from mcpo_rl.trainers.trl.coldstart import ColdStartConfig

DOMAINS = ("math", "code", "logic")
HELDOUT_SEED = 1_000
"""Of the held-out problems that the accuracy in the manifest is measured on."""


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "coldstart",
        help="make the bundled base model from scratch",
        description="Train a decoder of 0.9M parameters on traces of mixed strategies, measure its accuracy on\n"
        "held-out problems, and write the model, its tokenizer and a manifest. About 20 minutes on 2 cores.",
        epilog="examples:\n"
        "  mcpo-rl coldstart --output models/tiny\n"
        "  mcpo-rl coldstart --output /tmp/quick --skill-steps 60 --habit-steps 20",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the model goes; new or empty")
    parser.add_argument("--seed", type=int, default=0, help="of traces, weights and order (default 0)")
    parser.add_argument("--start", metavar="MODEL", help="a model to go on from, instead of fresh weights")
    parser.add_argument(
        "--shared",
        type=float,
        metavar="X",
        help="of the testbed (docs/testbed.md): share of families with math's openings",
    )
    parser.add_argument("--conflict", type=float, metavar="X", help="share of families where they mean the opposite")
    parser.add_argument("--families", metavar="NAMES", help="such as chain,steps,boolean (default: all)")
    parser.add_argument("--lora-rank", type=int, metavar="R", help="train a LoRA of the model of --start")
    parser.add_argument("--batch-size", type=int, metavar="N", help="traces of a step (96)")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="peak of the schedule")
    parser.add_argument("--skill-steps", type=int, metavar="N", help="optimizer steps on mostly careful traces")
    parser.add_argument(
        "--habit-steps", type=int, metavar="N", help="optimizer steps on the habitual mix of strategies"
    )
    parser.add_argument(
        "--eval-problems", type=int, default=200, metavar="N", help="held-out problems per domain (200)"
    )
    parser.add_argument("--eval-samples", type=int, default=4, metavar="K", help="completions per problem (4)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Train, measure, write."""
    output: Path = args.output
    if output.exists() and any(output.iterdir()):
        raise RunError(f"{output} is not empty; give a new directory with --output.")

    from mcpo_rl.trainers.trl.coldstart import cold_start
    from mcpo_rl.trainers.trl.running.progress import ProgressCallback

    config = _config(args)
    output.mkdir(parents=True, exist_ok=True)
    progress = ProgressCallback("cold start", line_every=100)
    try:
        model, tokenizer, log = cold_start(config, output, [] if args.quiet else [progress])
    finally:
        progress.close()
    accuracy = _accuracy(model, tokenizer, args, config.families or {})
    _write_manifest(output, config, model.num_parameters(), accuracy, log)
    for domain, value in accuracy["domains"].items():
        print(f"{domain:6} {value['accuracy']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]")
    print(f"model: {output}")
    return 0


def _config(args: argparse.Namespace) -> ColdStartConfig:
    from mcpo_rl.data.procedural.conventions import Dials
    from mcpo_rl.trainers.trl.coldstart import ColdStartConfig, dialled_config

    asked = ("start", "lora_rank", "batch_size", "learning_rate", "skill_steps", "habit_steps")
    settings: dict[str, Any] = {name: value for name in asked if (value := getattr(args, name)) is not None}
    if args.families is not None:
        settings["families"] = _families(args.families.split(","))
    if args.shared is None and args.conflict is None:
        return ColdStartConfig(seed=args.seed, **settings)
    dials = Dials(shared=args.shared or 0.0, conflict=args.conflict or 0.0)
    return dialled_config(dials, seed=args.seed, **settings)


def _families(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the asked families by domain.

    Raises:
        ConfigError: There is no family of a name, or none of a domain is asked for.
    """
    from mcpo_rl.data.procedural import families_of

    known = {domain: [family.name for family in families_of(domain)] for domain in DOMAINS}
    chosen = {domain: [name for name in names if name in known[domain]] for domain in DOMAINS}
    unknown = [name for name in names if not any(name in of_domain for of_domain in chosen.values())]
    empty = [domain for domain in DOMAINS if not chosen[domain]]
    if unknown or empty:
        there = "; ".join(f"{domain}: {', '.join(of_domain)}" for domain, of_domain in known.items())
        wrong = f"there is no family `{unknown[0]}`" if unknown else f"no family of domain {empty[0]} is asked for"
        raise ConfigError(f"--families: {wrong}; expected some of every domain ({there}).")
    return chosen


def _accuracy(
    model: Any, tokenizer: Any, args: argparse.Namespace, families: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    from mcpo_rl.cli.progress import evaluation_progress
    from mcpo_rl.data.procedural import generate
    from mcpo_rl.evaluation import evaluate

    problems = [
        problem
        for domain in DOMAINS
        for problem in generate(
            domain=domain, split="heldout", count=args.eval_problems, seed=HELDOUT_SEED, families=families.get(domain)
        )
    ]
    with evaluation_progress("evaluate", quiet=args.quiet) as show:
        result = evaluate(
            model,
            tokenizer,
            problems,
            samples=args.eval_samples,
            temperature=1.0,
            max_new_tokens=96,
            batch_size=256,
            progress=show,
        )
    domains = {
        name: {
            "accuracy": round(score.accuracy.value, 4),
            "low": round(score.accuracy.low, 4),
            "high": round(score.accuracy.high, 4),
        }
        for name, score in result.domains.items()
    }
    return {
        "domains": domains,
        "problems_per_domain": args.eval_problems,
        "samples": args.eval_samples,
        "temperature": 1.0,
        "split": "heldout",
        "seed": HELDOUT_SEED,
    }


def _write_manifest(
    output: Path, config: ColdStartConfig, parameters: int, accuracy: dict[str, Any], log: list[dict[str, Any]]
) -> None:
    """Write `manifest.json`: how this model was made and how it does."""
    from dataclasses import asdict

    from mcpo_rl.runs.manifest import starting_facts

    facts = starting_facts()
    manifest = {
        "command": shlex.join(["mcpo-rl", *sys.argv[1:]]),
        "config": asdict(config),
        "data": "procedural problems of mcpo_rl.data.procedural, train split, traces in three strategies",
        "parameters": parameters,
        "sampled_accuracy": accuracy,
        "loss": [{"step": entry["step"], "loss": entry["loss"]} for entry in log if "loss" in entry],
        "python": facts["python"],
        "packages": facts["packages"],
        "git": facts["git"],
        "created": facts["started"],
        "license": "Apache-2.0",
    }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
