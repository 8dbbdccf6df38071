"""Comparison of two versions, the promotion gate, and the promotion."""
