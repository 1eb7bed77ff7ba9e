"""What is known of the rollouts of a batch: domains, scores, metrics, what observers get."""
