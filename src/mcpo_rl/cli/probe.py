"""`mcpo-rl probe`: the geometry of a run's representations, measured on its checkpoints after training."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.cli.sandbox_options import add_sandbox_options, use_sandbox
from mcpo_rl.errors import ConfigError

if TYPE_CHECKING:
    from mcpo_rl.cli.probe_recording import Reading
    from mcpo_rl.runs import RunDirectory
    from mcpo_rl.runs.probe import ProbeDirectory

SHOWN = ("separability", "distance", "overlap", "alignment", "cross_alignment", "verdict_transfer", "cka", "drift")
"""Columns of the table; the rest is in the file and in the report."""


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "probe",
        help="how the representations of fixed rollouts change over a run's checkpoints",
        description="Record the hidden states of the same rollouts under the base model, every checkpoint and the\n"
        "final model of a run, and measure their geometry: are the domains apart, do their correct\n"
        "rollouts overlap, what moved. A recipe with `probe: {}` records them while training; this\n"
        "command does it afterwards, and fills in what is missing. The rollouts are drawn from the\n"
        "base model, or come from an evaluation of it.",
        epilog="examples:\n"
        "  mcpo-rl probe runs/mcpo\n"
        "  mcpo-rl probe runs/mcpo --problems heldout.jsonl --per-domain 100\n"
        "  mcpo-rl probe runs/mcpo --completions base.json           (from mcpo-rl eval --output base.json)\n"
        "  mcpo-rl probe runs/mcpo --layer 14 --output runs/mcpo/probe-14",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, finished or not")
    made = parser.add_argument_group("the rollouts, where the run has none yet")
    made.add_argument("--completions", type=Path, metavar="FILE", help="choose from an evaluation of the base model")
    made.add_argument(
        "--problems",
        metavar="P",
        help="draw them on these problems (as for `mcpo-rl eval`); left out: the run's evaluation before training, or "
        "else its recipe's `eval_problems`",
    )
    made.add_argument("--domain", metavar="D", help="domain of a file without a `domain` column")
    made.add_argument("--level", type=_positive, default=1, help="difficulty of procedural problems (default 1)")
    made.add_argument("--per-domain", type=_positive, default=64, metavar="N", help="rollouts of a domain (default 64)")
    made.add_argument("--samples", type=_positive, default=4, metavar="K", help="drawn per problem (default 4)")
    made.add_argument("--max-new-tokens", type=_positive, metavar="T", help="longest completion (as in training)")
    made.add_argument("--temperature", type=float, default=1.0, help="sampling temperature (default 1)")
    made.add_argument("--seed", type=int, default=0, help="seed of the sampling (default 0)")
    made.add_argument("--anew", action="store_true", help="replace the rollouts and states that are there")
    read = parser.add_argument_group("the hidden states")
    read.add_argument("--model", metavar="M", help="the base model, where the run does not say")
    read.add_argument("--layer", type=int, metavar="L", help="decoder layer, -1 is the last (as in training)")
    read.add_argument(
        "--pooling", choices=("mean", "last", "lines"), help="over the completion's tokens (as in training)"
    )
    read.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="weights' type (default float32)")
    read.add_argument("--batch-size", type=_positive, default=16, metavar="B", help="rollouts at a time (16)")
    read.add_argument("--output", type=Path, metavar="DIR", help="where they go (default RUN/probe)")
    add_sandbox_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Make the set if there is none, record what is missing and print what was measured."""
    _check(args)
    from mcpo_rl.runs import RunDirectory
    from mcpo_rl.runs.probe import FOLDER, ProbeDirectory

    directory_of_run = RunDirectory.open(args.run)
    config = directory_of_run.read_config()
    base = args.model or directory_of_run.read_manifest().get("model") or config.get("model")
    if not base:
        raise ConfigError(f"{args.run} does not say which model it started from: name it with --model.")
    directory = ProbeDirectory(args.output or args.run / FOLDER)
    if directory.exists() and not args.anew and (args.problems or args.completions):
        raise ConfigError(
            f"{directory.path} has its rollouts already. Leave --problems and --completions out to go on with them, "
            "give --anew to replace them, or --output DIR to put others beside them."
        )
    use_sandbox(args)
    return _record(args, directory_of_run, directory, str(base), config)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded."""
    if args.problems and args.completions:
        raise ConfigError("--completions has its problems already; give it without --problems.")
    if args.temperature <= 0:
        raise ConfigError(f"--temperature is {args.temperature}; it must be above 0 to draw different rollouts.")
    if args.per_domain < 2:
        raise ConfigError("--per-domain is 1; it must be at least 2, one correct and one incorrect.")


def _record(
    args: argparse.Namespace, run: RunDirectory, directory: ProbeDirectory, base: str, config: dict[str, Any]
) -> int:
    import torch
    import transformers

    from mcpo_rl.analysis.geometry import load_probe
    from mcpo_rl.cli.probe_recording import Reading, check_reading, models_of, record_models
    from mcpo_rl.cli.progress import progress_of

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    reading = Reading(
        layer=args.layer if args.layer is not None else int(config.get("feature_layer", -1)),
        pooling=args.pooling or str(config.get("feature_pooling", "mean")),
        dtype=args.dtype or "float32",
        device=None if config.get("use_cpu") else torch.accelerator.current_accelerator(),
        batch_size=args.batch_size,
    )
    if args.anew or not directory.exists():
        _make_set(args, run, directory, base, config, reading)
    if args.anew:
        directory.forget_after(-1)
    check_reading(directory, reading)
    models = models_of(run, base)
    if args.quiet:
        left_out = record_models(directory, models, reading)
    else:
        with progress_of("probe", "models") as progress:
            left_out = record_models(directory, models, reading, progress=progress)
    for step, reason in left_out.items():
        print(f"mcpo-rl: warning: left out step {step}: {reason}", file=sys.stderr)
    found = load_probe(directory.path)
    if found is None:
        print(f"The probe set has {len(directory.read_set())} rollouts: too few to measure anything.", file=sys.stderr)
        return 0
    for remark in found.remarks:
        print(f"mcpo-rl: warning: {remark}", file=sys.stderr)
    print(_table(found.steps, {name: dict(zip(*found.series(name), strict=True)) for name in SHOWN}))
    print(f"\nprobe:  {directory.path} ({len(found.rollouts)} rollouts at {len(found.steps)} steps)")
    print(f"report: mcpo-rl report {shlex.quote(str(args.run))}")
    return 0


def _make_set(
    args: argparse.Namespace,
    run: RunDirectory,
    directory: ProbeDirectory,
    base: str,
    config: dict[str, Any],
    reading: Reading,
) -> None:
    """Choose the rollouts from what was asked for, or else from what the run has."""
    from mcpo_rl.cli.eval import problem_sources
    from mcpo_rl.cli.probing import LONGEST, draw_set, set_from_file
    from mcpo_rl.config import ProbeOptions
    from mcpo_rl.evaluation import completions_path
    from mcpo_rl.models import load_model_and_tokenizer

    options = ProbeOptions(per_domain=args.per_domain, samples=args.samples)
    arguments = config.get("chat_template_kwargs")
    before = completions_path(run.start_eval_file)
    if args.completions:
        directory.write_set(set_from_file(args.completions, options, arguments))
        return
    if not args.problems and before.is_file():
        directory.write_set(set_from_file(before, options, arguments, origin=base))
        return
    if args.problems:
        sources = problem_sources(args.problems, domain=args.domain, limit=None, level=args.level)
    else:
        sources = config.get("eval_problems") or []
    if not sources:
        raise ConfigError(
            f"{run.path} has no held-out problems to draw rollouts on: name some with --problems, or completions of "
            "the base model with --completions."
        )
    longest = args.max_new_tokens or (config.get("evaluation") or {}).get("max_new_tokens")
    model, tokenizer = load_model_and_tokenizer(base, dtype=reading.dtype, device=reading.device)
    directory.write_set(
        draw_set(
            model,
            tokenizer,
            sources,
            options,
            chat_template_kwargs=arguments,
            max_new_tokens=longest or config.get("max_completion_length") or LONGEST,
            temperature=args.temperature,
            batch_size=args.batch_size,
            seed=args.seed,
            origin=base,
            quiet=args.quiet,
        )
    )


def _table(steps: list[int], columns: dict[str, dict[int, float]]) -> str:
    shown = {name: values for name, values in columns.items() if values}
    rows = [["step", *shown]]
    for step in steps:
        rows.append([str(step), *(f"{values[step]:.3f}" if step in values else "-" for values in shown.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value
