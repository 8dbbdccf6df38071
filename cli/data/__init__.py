"""Verbs that make and read tables: simulate, replay, read, trace."""
