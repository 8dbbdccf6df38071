"""Comparison of two versions, their review by the gate, and the promotion."""
