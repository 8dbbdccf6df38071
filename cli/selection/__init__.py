"""Verbs of scores and selection: features, score, select."""
