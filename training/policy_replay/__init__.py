"""Replay of the full loop for several selection policies."""
