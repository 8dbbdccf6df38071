"""Counts of what came before, by key."""
