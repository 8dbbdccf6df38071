"""Verbs of an operation: brief, plan, debrief."""
