"""Writes that wait in Redis for PostgreSQL: what an entry says, what a process remembers of its own, and what Redis must be set to."""
