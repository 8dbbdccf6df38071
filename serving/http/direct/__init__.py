"""Scores of single consignments, answered by their connection without an ASGI call."""
