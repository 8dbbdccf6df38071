"""Verbs that make and read tables: simulate, read, features, trace."""
