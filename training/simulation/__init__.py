"""The simulated operation: it imports nothing else of training."""
