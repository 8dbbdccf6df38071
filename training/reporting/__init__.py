"""Plots, pages and tables of results, and their way into MLflow."""
