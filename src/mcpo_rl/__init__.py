"""Reinforcement learning of reasoning models over several domains at once (MCPO).

`from mcpo_rl import MCPOConfig, MCPOTrainer` gives TRL's `GRPOConfig` and `GRPOTrainer`, extended; `MCPORLOOTrainer`,
`MCPODPOTrainer` and their configurations are two others of its trainers, extended likewise. They are loaded on first
use: importing the package itself, like `mcpo-rl --help`, imports neither torch nor an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpo_rl.trainers.trl import (
        MCPOConfig,
        MCPODPOConfig,
        MCPODPOTrainer,
        MCPORLOOConfig,
        MCPORLOOTrainer,
        MCPOTrainer,
    )

__all__ = [
    "MCPOConfig",
    "MCPODPOConfig",
    "MCPODPOTrainer",
    "MCPORLOOConfig",
    "MCPORLOOTrainer",
    "MCPOTrainer",
    "__version__",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in __all__:
        from mcpo_rl.trainers import trl

        return getattr(trl, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
