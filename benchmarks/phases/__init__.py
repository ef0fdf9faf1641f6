"""What can be measured; each module has ``run(adapters, options)``, which prints a table and returns the figures."""
