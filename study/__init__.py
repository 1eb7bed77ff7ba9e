"""The study of docs/results.md: does MCPO beat GRPO, where, and why? `python -m study` runs it and reads it."""
