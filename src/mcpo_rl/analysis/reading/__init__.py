"""What the analysis reads: runs and comparisons, as far as they are there."""
