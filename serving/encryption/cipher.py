"""Encryption under one key: AES-GCM with a random nonce, which stands before the ciphertext."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from features.history.pseudonyms import derive_key

NONCE_BYTES = 12
"""96 bits, drawn at random for each text: safe for 2**32 texts under one key (NIST SP 800-38D, 8.3)."""


class Cipher:
    """Seals texts, and opens them.

    Parameters
    ----------
    key : bytes
        32.
    """

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def encrypt(self, text: bytes, subject: bytes) -> bytes:
        """Encrypt a text, bound to what it belongs to."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, text, subject)

    def decrypt(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt a text; `cryptography.exceptions.InvalidTag` where anything of it was changed or the key is another."""
        return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], subject)


def compute_fingerprint(data_key: bytes) -> str:
    """Tell data keys apart, in 16 hexadecimal digits that say nothing about the key."""
    return derive_key(data_key, "event log fingerprint")[:8].hex()
