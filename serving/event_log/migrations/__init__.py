"""Alembic migrations of the event log's tables; `serving.event_log.log` runs them when it opens a log."""
