"""Plots, pages and tables of results, and logging to MLflow."""
