"""Verbs of the service and its log."""
