"""Verbs of an operation: debrief."""
