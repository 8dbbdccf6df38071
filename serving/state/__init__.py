"""State of the service, derived from the event log."""
