"""Simulated operation; it imports nothing else of training."""
