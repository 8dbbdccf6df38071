"""Fitting a model, and the additional fits for evaluation and calibration."""
