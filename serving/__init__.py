"""Scoring service: scores over HTTP, an event log as the order of history, and the publisher."""
