"""Ed25519 keys of the persons who approve promotions: a private key in a PEM file, and its public key as text."""

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from consignments.errors import BadInput
from consignments.files.whole_files import create_key_file

MAX_KEY_FILE_BYTES = 10_000
PASSPHRASE_VARIABLE = "NPSRISK_KEY_PASSPHRASE"
RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


class VerifyingKey:
    """A public key, as the base64 text of its 32 bytes; `key_id` is their SHA-256. `BadInput` if it is none."""

    def __init__(self, text: str) -> None:
        try:
            raw = base64.b64decode(text, validate=True)
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except (ValueError, binascii.Error) as error:
            expected = "the base64 text of an Ed25519 public key, 44 characters"
            todo = "copy the line that npsrisk keys show prints"
            raise BadInput("not a public key", got=repr(text[:60]), expected=expected, todo=todo) from error
        self.text, self.key_id = base64.b64encode(raw).decode(), hashlib.sha256(raw).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether a signature of a message was made by the private key."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key, with its public one."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = VerifyingKey(base64.b64encode(key.public_key().public_bytes(*RAW)).decode())

    @classmethod
    def create(cls, path: Path) -> "SigningKey":
        """Create a key in a new file that only its owner can read, encrypted if `NPSRISK_KEY_PASSPHRASE` is set."""
        key = Ed25519PrivateKey.generate()
        passphrase = _read_passphrase()
        encryption: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        )
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        create_key_file(path, pem)
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read a private key from its PEM file; `BadInput` if it holds no Ed25519 key, or its passphrase is another one."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_KEY_FILE_BYTES)
        except OSError as error:
            raise BadInput(
                "the signing key cannot be read",
                where=str(path),
                got=error.__class__.__name__,
                expected="a file of npsrisk keys create",
                todo="create one with npsrisk keys create --name NAME, or give yours with --key FILE",
            ) from error
        try:
            key = serialization.load_pem_private_key(data, _read_passphrase())
        except (ValueError, TypeError) as error:
            raise BadInput(
                "the signing key cannot be opened",
                where=str(path),
                got="another format, or another passphrase",
                expected="a PEM file of npsrisk keys create",
                todo=f"set {PASSPHRASE_VARIABLE} to its passphrase if it has one",
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            got = type(key).__name__
            raise BadInput("not a signing key of npsrisk", where=str(path), got=got, expected="Ed25519")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """Sign a message; 64 bytes."""
        return self._key.sign(message)


def _read_passphrase() -> bytes | None:
    text = os.environ.get(PASSPHRASE_VARIABLE)
    return text.encode() if text else None
