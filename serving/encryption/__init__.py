"""Encryption of personal data, and its keys."""
