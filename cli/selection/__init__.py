"""Verbs of scores and selection: score, select, recall, replay."""
