"""Encryption with one key: AES-GCM with a random nonce, which is stored in front of the ciphertext."""

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from features.history.pseudonyms import derive_key

NONCE_BYTES = 12
"""Length of the random nonce (96 bits); safe for 2**32 texts with one key (NIST SP 800-38D, 8.3)."""


class Cipher:
    """An AES-256-GCM cipher with random nonces and a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def encrypt_all(self, texts: Sequence[bytes], subjects: Sequence[bytes]) -> list[bytes]:
        """Encrypt texts, (n,), and bind each to its subject, (n,).

        Their nonces are drawn together, because each call of the system gives another thread its turn.
        """
        drawn, encrypt = os.urandom(NONCE_BYTES * len(texts)), self._aes.encrypt
        nonces = [drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES)]
        return [
            nonce + encrypt(nonce, text, subject)
            for nonce, text, subject in zip(nonces, texts, subjects, strict=True)
        ]

    def decrypt(self, sealed: bytes, subject: bytes) -> bytes:
        """Decrypt a text; raise `cryptography.exceptions.InvalidTag` if it or its subject was changed, or the key is another one."""
        return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], subject)


def compute_fingerprint(data_key: bytes) -> str:
    """Compute the fingerprint of a data key: 16 hexadecimal digits that reveal nothing about the key."""
    return derive_key(data_key, "event log fingerprint")[:8].hex()
