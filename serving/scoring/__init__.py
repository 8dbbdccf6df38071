"""Scoring of consignments, and recording of what else is received."""
