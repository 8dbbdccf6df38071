"""Pages of a run: entries of 12 bytes, sorted by digest and sequence number, divided by the first bits of the digest."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES, DIGEST_BITS = 8, 64
CRC_BYTES = 4
PAGE_ENTRIES = 256
"""Mean number of entries in a page, which has then three kilobytes."""
RUN_DTYPE = np.dtype([("digest", "<u8"), ("offset", "<u4")])
"""`offset` is the sequence number less the first one of the run."""
Digests = NDArray[np.uint64]
RunEntries = NDArray[Any]


class DamagedPage(ValueError):
    """A page of a run does not hold what was written."""


class PackedRun(NamedTuple):
    """A run in pages: there are 2**bits of them."""

    bits: int
    pages: list[bytes]


def compute_digests(names: Sequence[str], key: bytes) -> Digests:
    """Compute the keyed digests of identifiers, uint64, (n,). Without the key nobody can choose identifiers for one page."""
    copy = blake2b(digest_size=DIGEST_BYTES, key=key).copy
    parts = []
    for name in names:
        digest = copy()
        digest.update(name.encode())
        parts.append(digest.digest())
    return np.frombuffer(b"".join(parts), dtype="<u8")


def build_entries(digests: Digests, offsets: Sequence[int] | NDArray[Any]) -> RunEntries:
    """Return the entries of a run, in any order."""
    entries = np.empty(len(digests), dtype=RUN_DTYPE)
    entries["digest"], entries["offset"] = digests, offsets
    return entries


def pack_run(entries: RunEntries) -> PackedRun:
    """Sort entries and divide them into pages."""
    entries = entries[np.lexsort((entries["offset"], entries["digest"]))]
    bits = max(0, (len(entries) // PAGE_ENTRIES).bit_length() - 1)
    starts = np.searchsorted(find_pages(entries["digest"], bits), np.arange((1 << bits) + 1))
    content = entries.tobytes()
    size = RUN_DTYPE.itemsize
    pages = [
        content[size * start : size * end]
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    return PackedRun(bits, [crc32(page).to_bytes(CRC_BYTES, "little") + page for page in pages])


def unpack_pages(pages: Sequence[bytes]) -> RunEntries:
    """Return the entries of pages that follow one another, sorted.

    Raises
    ------
    DamagedPage
        A byte was changed.
    """
    for page in pages:
        if len(page) % RUN_DTYPE.itemsize != CRC_BYTES or crc32(page[CRC_BYTES:]) != int.from_bytes(
            page[:CRC_BYTES], "little"
        ):
            raise DamagedPage
    return np.frombuffer(b"".join(page[CRC_BYTES:] for page in pages), dtype=RUN_DTYPE)


def find_pages(digests: Digests, bits: int) -> NDArray[Any]:
    """Return the number of the page of each digest, int64, (n,)."""
    if not bits:
        return np.zeros(len(digests), dtype=np.int64)
    return (digests >> np.uint64(DIGEST_BITS - bits)).astype(np.int64)


def find_offsets(entries: RunEntries, digests: Digests) -> tuple[NDArray[Any], NDArray[Any]]:
    """Find digests in sorted entries; return the place of the digest and the offset of each entry found, both int64, (m,)."""
    have = np.ascontiguousarray(entries["digest"])
    starts, ends = np.searchsorted(have, digests, "left"), np.searchsorted(have, digests, "right")
    counts = ends - starts
    whose = np.repeat(np.arange(len(digests)), counts)
    within = np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts)
    return whose, entries["offset"][np.repeat(starts, counts) + within].astype(np.int64)
