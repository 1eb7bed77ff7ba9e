"""`mcpo-rl eval --export`: evaluations in the files of lm-eval or lighteval."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from mcpo_rl.errors import ConfigError

_FORMATS = ("lm-eval", "lighteval")


def add_export_option(group: argparse._ArgumentGroup) -> None:
    """Add the option."""
    group.add_argument(
        "--export",
        nargs=2,
        metavar=("FORM", "DIR"),
        help="also write results and samples into DIR as lm-eval or lighteval write theirs; needs --output or --read",
    )


def check_export(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ConfigError: An unknown form, a DIR that is a file, or an evaluation that is not kept.
    """
    if args.export is None:
        return
    form, folder = args.export
    if form not in _FORMATS:
        raise ConfigError(f"--export: unknown form `{form}`; expected {' or '.join(_FORMATS)}.")
    if Path(folder).is_file():
        raise ConfigError(f"--export: {folder} is a file; give a directory.")
    if args.output is None and args.read is None:
        raise ConfigError("--export needs the completions on disk: give --output, or --read FILE.")


def export(evaluations: Iterable[Path], args: argparse.Namespace) -> None:
    """Write the evaluations in the form that was asked for.

    Raises:
        RunError: One cannot be read, or a file cannot be written.
    """
    from mcpo_rl.evaluation.export import export_evaluation

    form, folder = args.export
    for evaluation in evaluations:
        results, *samples = export_evaluation(evaluation, form, folder)
        print(f"written for {form}: {results} and {len(samples)} file{'s' * (len(samples) != 1)} of samples")
