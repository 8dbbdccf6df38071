"""Retraining on operation results: data sets, splits, fit, evaluation, tracking and reports."""

from consignments import refuse_hidden_packages

refuse_hidden_packages("features", "models")
