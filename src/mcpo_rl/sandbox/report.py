"""What the sandbox is worth on this machine, found out by starting one program in it."""

from __future__ import annotations

import sys
from typing import Any

from mcpo_rl.errors import SandboxError
from mcpo_rl.sandbox.process import Child, Limits

LAYERS = ("pid namespace", "own user", "memory limit", "process limit")
"""What depends on the platform; the limits of time, file size, open files and output hold everywhere."""

_MISSING = {
    "pid namespace": "a program that starts its own session can outlive the kill",
    "own user": "a program has the file rights of the user who runs the host",
    "memory limit": "a program can take all memory",
    "process limit": "a program can start as many processes as its user may, until its time is over",
}


def describe() -> dict[str, Any]:
    """Return what holds here, for `mcpo-rl doctor`: `available`, `layers`, `missing` (a layer: what that means), ..."""
    always = ["reading files", "network"]
    try:
        with Child({"mode": "script", "program": "", "stdin": ""}, Limits(), life_s=10) as child:
            child.wait_ready()
            layers = child.layers
    except SandboxError as error:
        return {
            "available": False,
            "error": str(error),
            "layers": [],
            "missing": dict(_MISSING),
            "not_isolated": always,
        }
    missing = {layer: meaning for layer, meaning in _MISSING.items() if layer not in layers}
    if "own user" in missing and "pid namespace" in layers:
        missing["own user"] += ", but cannot signal it"
    return {
        "available": True,
        "platform": sys.platform,
        "layers": [layer for layer in LAYERS if layer in layers],
        "missing": missing,
        "not_isolated": always,
    }
