"""Scoring service: scores over HTTP, an event log as the order of history, and the publisher."""

from consignments import refuse_hidden_packages

refuse_hidden_packages("features", "models")
