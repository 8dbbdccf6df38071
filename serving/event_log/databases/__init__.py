"""The databases of the event log, SQLite and PostgreSQL, and its tables."""
