"""Fitting a model, and the fits made around it."""
