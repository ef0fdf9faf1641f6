"""Which messages a model sees, and what a cached window says of itself: decisions, no I/O."""
