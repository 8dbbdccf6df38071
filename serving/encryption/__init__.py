"""Keys, and the encryption of personal data."""
