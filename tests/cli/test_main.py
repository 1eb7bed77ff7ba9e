"""The command itself: help, versions, mistakes, and how each way of ending early is told."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mcpo_rl import __version__
from mcpo_rl.cli import COMMANDS, build_parser
from mcpo_rl.errors import ConfigError


def test_without_arguments_it_prints_help(command: Callable[..., Any]) -> None:
    answer = command()
    assert answer.status == 0
    for name in COMMANDS:
        assert f"\n    {name}" in answer.out


def test_version(command: Callable[..., Any]) -> None:
    assert command("--version").out == f"mcpo-rl {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(command: Callable[..., Any], name: str) -> None:
    answer = command(name, "--help")
    assert answer.status == 0
    head, found, examples = answer.out.partition("\nexample")
    assert found
    assert f"mcpo-rl {name}" in examples
    assert head.startswith(f"usage: mcpo-rl {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_accepted_by_the_parser(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    parser = build_parser()
    with pytest.raises(SystemExit):
        parser.parse_args([name, "--help"])
    text = capsys.readouterr().out.partition("\nexample")[2].replace("\\\n", " ")
    lines = [line for line in text.splitlines() if "mcpo-rl " in line]
    assert lines
    for line in lines:
        words = shlex.split(line.split("   ")[0] if line.startswith("  mcpo-rl") and "    " in line[2:] else line)
        words = words[words.index("mcpo-rl") + 1 :]
        assert parser.parse_args(words).command == name


def test_unknown_command_names_the_nearest(command: Callable[..., Any]) -> None:
    answer = command("trian")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert "unknown command `trian`. Did you mean `train`?" in answer.err


@pytest.mark.parametrize(
    "words", [["eval"], ["verify"], ["report"], ["train"], ["doctor", "--jsn"], ["--bogus"], ["--debug"]]
)
def test_usage_errors_are_one_line_and_status_2(command: Callable[..., Any], words: list[str]) -> None:
    answer = command(*words)
    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert "--help`" in answer.err


class Ending:
    """A command that ends as told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add_parser(self, subparsers: Any) -> None:
        subparsers.add_parser("end")

    def run(self, args: argparse.Namespace) -> int:
        raise self.error


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    return lambda error: monkeypatch.setitem(COMMANDS, "end", Ending(error))  # type: ignore[arg-type]


def test_a_users_mistake_is_one_line(command: Callable[..., Any], ending: Callable[..., None]) -> None:
    ending(ConfigError("`seed` is wrong."))
    answer = command("end")
    assert (answer.status, answer.err) == (2, "mcpo-rl: error: `seed` is wrong.\n")


def test_debug_shows_the_traceback(
    command: Callable[..., Any], ending: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(ConfigError("`seed` is wrong."))
    assert "Traceback" in command("end", "--debug").err
    assert "Traceback" in command("--debug", "end").err
    monkeypatch.setenv("MCPO_RL_DEBUG", "1")
    assert "Traceback" in command("end").err
    monkeypatch.setenv("MCPO_RL_DEBUG", "0")
    assert "Traceback" not in command("end").err


def test_interrupt(command: Callable[..., Any], ending: Callable[..., None]) -> None:
    ending(KeyboardInterrupt())
    answer = command("end")
    assert (answer.status, answer.err) == (130, "mcpo-rl: interrupted\n")


def test_a_bug_keeps_its_traceback(command: Callable[..., Any], ending: Callable[..., None]) -> None:
    ending(ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        command("end")


def test_a_reader_that_goes_away_is_no_error() -> None:
    # stdout is a pipe whose other end is closed: writing to it is what `| head` leads to.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mcpo_rl", "doctor", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""
