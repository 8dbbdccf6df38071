"""Plots, pages and tables of results, and logging to MLflow."""

import logging

# Matplotlib would tell a user without a home, such as that of the service, where its cache is.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
