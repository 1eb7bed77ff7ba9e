"""`mcpo-rl verify`: judge completions from JSON lines, as a stream."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mcpo_rl.errors import ProblemError


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "verify",
        help="judge completions from JSON lines",
        description='Read JSON lines {"reference": ..., "completion": "..."} and print one verdict a line, in order:\n'
        '{"status": "correct" | "incorrect" | "error", "reward": 0..1 or null, "answer": "...", "detail": "..."}.\n'
        "A line that cannot be judged (no JSON, a key missing, a reference of the wrong form) is an `error`.",
        epilog="example:\n"
        '  echo \'{"reference": "3/4", "completion": "So it is \\\\boxed{0.75}"}\' | mcpo-rl verify --domain math',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--domain", required=True, metavar="D", help="math, code, logic or choice")
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="JSON lines; `-` (default): standard input"
    )
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="verifiers at a time (default: cores)")


def run(args: argparse.Namespace) -> int:
    """Print one verdict per input line; verdicts appear as they are known."""
    from mcpo_rl.domains import get_domain
    from mcpo_rl.rewards import verify_lines

    get_domain(args.domain)
    if args.file == "-":
        for verdict in verify_lines(sys.stdin, domain=args.domain, workers=args.workers):
            print(json.dumps(verdict), flush=True)
        return 0
    path = Path(args.file)
    try:
        stream = path.open(encoding="utf-8")
    except OSError as error:
        raise ProblemError(f"cannot read {path}: {error.strerror}.") from error
    with stream:
        for verdict in verify_lines(stream, domain=args.domain, workers=args.workers):
            print(json.dumps(verdict), flush=True)
    return 0
