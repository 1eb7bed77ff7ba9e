"""The two phases of a step: the pool phase makes one gradient per rollout, the policy phase adds them to the loss."""
