"""What a run has around its steps: checkpoints, callbacks, progress, what it was launched with, ranks that fail."""
