"""Gradient surgery: the domains' policy gradients of an optimizer step, put together so that none undoes another."""

from mcpo_rl.trainers.trl.surgery.config import PCGradConfig
from mcpo_rl.trainers.trl.surgery.trainer import PCGradTrainer

__all__ = ["PCGradConfig", "PCGradTrainer"]
