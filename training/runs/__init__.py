"""One training run, from tables to a registered version."""
