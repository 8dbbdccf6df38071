"""The hash chain of the log: the hash of an entry covers its columns and the hash before it; `serving.event_log.verification` checks it."""

import hashlib
from collections.abc import Iterable

import msgspec

from serving.event_log.events import Columns

_encode, _sha256 = msgspec.msgpack.Encoder().encode, hashlib.sha256


def encode_columns(row: Columns) -> bytes:
    """Encode a row as MessagePack without the empty columns at its end, so that a further column changes no hash."""
    end = len(row)
    while row[end - 1] is None:
        end -= 1
    return _encode(row[:end])


def hash_row(previous: bytes, row: Columns) -> bytes:
    """Compute the hash of an entry: SHA-256 of the hash before it and of its columns."""
    return _sha256(previous + encode_columns(row)).digest()


def hash_rows(previous: bytes, rows: Iterable[Columns]) -> list[bytes]:
    """Compute the hash of each of some entries in order."""
    hashes = []
    for row in rows:
        previous = hash_row(previous, row)
        hashes.append(previous)
    return hashes
