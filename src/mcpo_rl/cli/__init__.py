"""The command `mcpo-rl`: a thin layer over the library.

Every subcommand is one module with `add_parser(subparsers)` and `run(args) -> int`. The modules import what is heavy
inside `run`, so that `mcpo-rl --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TextIO

from mcpo_rl import __version__
from mcpo_rl.cli import bench, coldstart, compare, data, demo, doctor, merge, probe, ranks, report, train, verify
from mcpo_rl.cli import eval as evaluate
from mcpo_rl.errors import MCPOError, nearest

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "eval": evaluate,
    "compare": compare,
    "merge": merge,
    "probe": probe,
    "verify": verify,
    "report": report,
    "data": data,
    "doctor": doctor,
    "bench": bench,
    "coldstart": coldstart,
}
"""Name of the subcommand -> its module, in the order in which `--help` lists them."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose error is one line on stderr."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = _Parser(
        prog="mcpo-rl",
        description="Reinforcement learning of reasoning models over several domains at once (MCPO).",
        epilog="example:\n  mcpo-rl demo\n\nEvery command has its own --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mcpo-rl {__version__}")
    parser.set_defaults(debug=False)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for module in COMMANDS.values():
        module.add_parser(subparsers)
    for each in (parser, *subparsers.choices.values()):
        # Suppressed: a subparser's default would overwrite what was said before the command's name.
        text = "on an error show the traceback (also: MCPO_RL_DEBUG=1)"
        each.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=text)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. The process group of a distributed run is ended with it.

    Args:
        argv: The words after `mcpo-rl`; None takes them from `sys.argv`.

    Returns:
        0, 2 for a mistake in what was asked (one line on stderr says which), 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help()
        return 0
    try:
        command = next((word for word in words if not word.startswith("-")), None)
        if command is not None and command not in COMMANDS:
            parser.error(f"unknown command `{command}`.{nearest(command, COMMANDS)}")
        args = parser.parse_args(words)
        if args.command is None:
            parser.error("name a command, e.g. `mcpo-rl demo`")
    except SystemExit as stop:  # argparse ends the process itself; this function returns the status
        return int(stop.code or 0)
    return _run(COMMANDS[args.command].run, args)


def _run(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run one subcommand and turn the ways in which it can end early into exit statuses."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            # What libraries plan for later versions of theirs is for their callers, not for whoever runs this command.
            warnings.simplefilter("ignore", FutureWarning)
            status = run(args)
        ranks.leave_group()
        sys.stdout.flush()
        return status
    except MCPOError as error:
        ranks.tell_launcher(error)
        ranks.let_rank_0_speak()
        if args.debug or os.environ.get("MCPO_RL_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        if not isinstance(error, ranks.SaidByRank0Error):
            print(f"mcpo-rl: error: {ranks.label()}{error}", file=sys.stderr)
        return 1 if isinstance(error, ranks.LostRankError) else 2
    except KeyboardInterrupt:
        print("mcpo-rl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) went away. Python flushes stdout once more at exit: give it a place to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        ranks.tell_launcher(error)
        raise


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of ours as one line for the user; anybody else's as Python does."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        print(f"mcpo-rl: warning: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
