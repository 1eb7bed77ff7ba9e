"""Hidden states: where they are tapped, and which pass of a step they are read from."""
