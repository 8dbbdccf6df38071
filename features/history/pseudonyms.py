"""Pseudonyms: numbers for names, addresses and other history keys, computed with a secret key.

The same value and key give the same number on every machine and in every run. Without the key, a number cannot be
linked to a value. Deleting the key therefore erases the values.
"""

import logging
import os
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadSetting

DATA_KEY_BYTES = 32
NUMBER_BYTES = 8
"""Length of a number. Any two of 20 million values have the same number with a probability of 1 in 90,000."""
MISSING = bytes(NUMBER_BYTES)
_MIN_NUMBER = (1).to_bytes(NUMBER_BYTES, "little")
KIND_SEPARATOR = b"\x1e"

log = logging.getLogger("npsrisk")


class Pseudonyms:
    """The pseudonyms of one secret key (keyed BLAKE2b, RFC 7693).

    Parameters
    ----------
    key : bytes
        The data key, 1 to 64 bytes. The key of the pseudonyms is derived from it.

    Examples
    --------
    >>> pseudonyms = Pseudonyms(b"a key for an example")
    >>> pseudonyms.compute_number("sender", "a") == pseudonyms.compute_number("sender", "a")
    True
    >>> pseudonyms.compute_number("sender", "a") == pseudonyms.compute_number("consignee", "a")
    False
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        derived = derive_key(key, "pseudonyms")
        self._prepared = blake2b(key=derived, digest_size=NUMBER_BYTES)
        self._by_kind: dict[str, blake2b] = {}

    def __reduce__(self) -> tuple[type["Pseudonyms"], tuple[bytes]]:
        """Return the parts from which another process of the same batch rebuilds it."""
        return type(self), (self._key,)

    def compute_digest(self, kind: str, value: str) -> bytes:
        """Compute the number of a value as 8 bytes, little-endian; all zero only if the value is missing.

        Parameters
        ----------
        kind : str
            Kind of the value. Equal values of two kinds have different numbers.
        value : str
            Normal form of the value. An empty one gives `MISSING_BIN`.
        """
        if not value:
            return MISSING
        state = (self._by_kind.get(kind) or self._prepare_hash(kind)).copy()
        try:
            state.update(value.encode())
        except UnicodeEncodeError:
            state.update(value.encode("utf-8", "surrogatepass"))
        number = state.digest()
        return number if number != MISSING else _MIN_NUMBER

    def compute_number(self, kind: str, value: str) -> int:
        """Compute the number of a value, from 1 to 2**64 - 1; 0 for a missing value."""
        return int.from_bytes(self.compute_digest(kind, value), "little")

    def number_texts(self, kind: str, texts: Iterable[str]) -> NDArray[np.uint64]:
        """Compute the number of each text, as `compute_number` does."""
        digests = b"".join([self.compute_digest(kind, text) for text in texts])
        return np.frombuffer(digests, np.dtype("<u8")).astype(np.uint64)

    def _prepare_hash(self, kind: str) -> blake2b:
        state = self._prepared.copy()
        state.update(kind.encode() + KIND_SEPARATOR)
        return self._by_kind.setdefault(kind, state)


def derive_key(data_key: bytes, purpose: str) -> bytes:
    """Derive a key of 32 bytes for one purpose from the data key. Keys of two purposes are independent.

    Parameters
    ----------
    data_key : bytes
        1 to 64 bytes.
    purpose : str
        For example `pseudonyms` or `encryption`.
    """
    return blake2b(purpose.encode(), key=data_key, digest_size=DATA_KEY_BYTES).digest()


def load_data_key(path: Path, *, create: bool = False) -> bytes:
    """Load the data key of 32 bytes, from which all other keys are derived.

    Parameters
    ----------
    path : Path
    create : bool
        Create a random key if there is no file yet. Only its owner can read it, and a warning says to keep it. If two
        processes start together, one creates it and both read it.

    Raises
    ------
    BadSetting
        If there is no key, or the file is not a key.
    """
    if create and not path.exists():
        _create_data_key(path)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise BadSetting(
            "the data key cannot be read",
            where=str(path),
            got=error.strerror or str(error),
            todo="set NPSRISK_DATA_KEY_FILE to the file of the data key",
        ) from error
    if len(key) != DATA_KEY_BYTES:
        raise BadSetting(
            "the file is not a data key",
            where=str(path),
            got=f"{len(key)} bytes",
            expected=f"{DATA_KEY_BYTES} random bytes",
            todo="restore the file from a backup",
        )
    return key


def _create_data_key(path: Path) -> None:
    """Create the key in a temporary file, and then rename it, so that no process reads half a key."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(secrets.token_bytes(DATA_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _link_once(draft, path)
    except OSError as error:
        raise BadSetting(
            "the data key cannot be created", where=str(path), got=error.strerror or str(error)
        ) from error


def _link_once(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    log.warning(
        "created a new data key in %s: keep a backup; without it no pseudonym can be recomputed", path
    )
