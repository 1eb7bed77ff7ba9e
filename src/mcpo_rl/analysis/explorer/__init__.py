"""The data of the rollout explorer and of the probe's map, as the page holds them."""
