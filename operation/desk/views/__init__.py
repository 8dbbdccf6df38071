"""Readers of what a page shows, from the event log."""
