"""The history of the event log's tables, for alembic; `serving.event_log.log` brings a log up to date when it opens it."""
