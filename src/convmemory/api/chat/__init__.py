"""The chat route: a runnable over HTTP, in the protocols that front ends speak, with every turn in the memory."""
