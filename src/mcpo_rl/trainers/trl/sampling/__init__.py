"""Which problems a batch holds: the mixture's order, and other problems in the place of those without signal."""
