"""The end of a TLS certificate."""

from datetime import datetime
from pathlib import Path

from cryptography import x509


def read_certificate_end(path: Path) -> datetime:
    """Read from a PEM file when the first certificate in it ends; raise `ValueError` if it has none."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
