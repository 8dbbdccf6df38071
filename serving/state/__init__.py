"""What the service knows, derived from the event log."""
