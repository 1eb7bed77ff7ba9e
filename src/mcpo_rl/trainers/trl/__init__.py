"""MCPO on TRL: the one place that knows this engine."""

from mcpo_rl.trainers.trl.config import MCPOConfig, MCPODPOConfig, MCPORLOOConfig
from mcpo_rl.trainers.trl.dpo import MCPODPOTrainer
from mcpo_rl.trainers.trl.running.callbacks import InterruptCallback, RunMetricsCallback
from mcpo_rl.trainers.trl.running.checkpoint import find_last_complete_checkpoint
from mcpo_rl.trainers.trl.running.probing import ProbeCallback
from mcpo_rl.trainers.trl.running.progress import ProgressCallback
from mcpo_rl.trainers.trl.surgery import PCGradConfig, PCGradTrainer
from mcpo_rl.trainers.trl.trainer import MCPORLOOTrainer, MCPOTrainer

__all__ = [
    "InterruptCallback",
    "MCPOConfig",
    "MCPODPOConfig",
    "MCPODPOTrainer",
    "MCPORLOOConfig",
    "MCPORLOOTrainer",
    "MCPOTrainer",
    "PCGradConfig",
    "PCGradTrainer",
    "ProbeCallback",
    "ProgressCallback",
    "RunMetricsCallback",
    "find_last_complete_checkpoint",
]
