"""Do the domains pull the policy in different directions? The gradients of each domain, measured in passing."""
