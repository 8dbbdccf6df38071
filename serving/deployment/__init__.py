"""Releases of models, and the publisher that writes them."""
