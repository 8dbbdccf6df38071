"""Maintenance of the event log: import, export, recomputation and removal of content."""
