"""Retraining on operation results: data sets, splits, fit, evaluation, tracking and reports."""
