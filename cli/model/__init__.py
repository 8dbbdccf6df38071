"""Verbs of a model: train, compare, gate, keys, promote, drift."""
