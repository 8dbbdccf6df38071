"""Drift detection: later traffic compared with the traffic on which a model was evaluated."""
