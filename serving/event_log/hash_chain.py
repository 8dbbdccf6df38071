"""Hash chain of the event log: each entry's hash covers the previous hash and all columns of the entry.

An entry whose content was removed (`serving.maintenance.retention`) keeps its hash. A later entry records the removal, with
a digest of what remains of these entries. So the remains cannot be changed unnoticed either.

sequence 1 to 3   RB1 to RB3 were scored; their content was removed   hash 3 is stored; the digest in 5 covers the remains
sequence 4        RB4 was scored                                      hash 4 covers hash 3 and the entry
sequence 5        records who removed the content of 1 to 3, and why  hash 5 covers hash 4 and the entry
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from serving.encryption.key_file import PREFIX_BYTES
from serving.event_log.event_rows import Columns, EventRow

_encode = msgspec.msgpack.Encoder().encode


def hash_row(previous: bytes, row: Columns) -> bytes:
    """Compute the hash of an entry: SHA-256 of the previous hash and of all its columns, in order, as MessagePack.

    Returns
    -------
    bytes
        32 bytes.
    """
    return hashlib.sha256(previous + _encode(row)).digest()


class Redaction(msgspec.Struct, frozen=True):
    """The record of a removal of consignments' content from the log, with a digest of what remains.

    Attributes
    ----------
    after, up_to : int
        Range of sequence numbers; `after` excluded, `up_to` included.
    emptied : int
        Number of entries that lost their content.
    digest : bytes
        `RedactedDigest` of these entries.
    before_us : int
        The entries were recorded before this time, in microseconds since the epoch.
    approved_by, why : str
    """

    after: int
    up_to: int
    emptied: int
    digest: bytes
    before_us: int
    approved_by: str
    why: str


class RedactedDigest:
    """The digest of what remains of entries without content: SHA-256 of their columns and hashes, in order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.entries = 0

    def add(self, row: EventRow, here: bytes) -> None:
        """Add the remaining columns of an entry, and its hash."""
        self._sha256.update(_encode(row) + here)
        self.entries += 1

    def digest(self) -> bytes:
        """Return the digest of all added entries."""
        return self._sha256.digest()


class VerificationResult(NamedTuple):
    """The result of verifying the hash chain.

    Attributes
    ----------
    entries : int
        Number of valid entries, from the first one.
    broken_at : int or None
        Sequence number of the first entry that is not valid; None if all are valid.
    head : str
        Hash of the last valid entry, hexadecimal. Stored elsewhere, it later detects truncation or a rewrite of the
        entries up to it.
    kept_at : int or None
        Sequence number of the entry with the hash that was stored elsewhere; 0 for the hash of an empty log; None if no
        entry has it.
    emptied : int
        Number of valid entries whose content was removed with a record of it.
    erased : int
        Number of valid entries whose personal fields nobody can decrypt, because the log records the erasure of their
        monthly key.
    """

    entries: int
    broken_at: int | None
    head: str
    kept_at: int | None = None
    emptied: int = 0
    erased: int = 0

    def describe_fault(self, kept: str = "") -> str:
        """Describe what is wrong with the log; return an empty text if the log is valid.

        Parameters
        ----------
        kept : str
            The hash that was stored elsewhere, or an empty text.
        """
        if self.broken_at is not None:
            return (
                f"the hash chain breaks after entry {self.entries:,}: the next entry, {self.broken_at:,}, was changed, "
                "or an entry before it was deleted, inserted or emptied"
            )
        if kept and self.kept_at is None:
            return "no entry has the hash given by --head: the log was truncated or rewritten"
        return ""


class ChainVerifier:
    """A verifier of the hash chain, which checks entry after entry.

    Parameters
    ----------
    origin : bytes
        Hash before the first entry to check; for the first entry of the log it is the start of the chain.
    removals : iterable of Redaction
        Removals recorded in the log, in order; their entries are checked later.
    kept : str
        Hash of an entry that was stored elsewhere, hexadecimal.
    erased : collection of bytes
        Prefixes of the keys whose erasure the log records.
    entries : int
        Number of entries before the first one to check.
    """

    def __init__(
        self,
        origin: bytes,
        removals: Iterable[Redaction],
        kept: str = "",
        erased: Collection[bytes] = (),
        entries: int = 0,
    ) -> None:
        self._previous, self._kept, self._erased_keys = origin, kept, erased
        self._removals = iter(removals)
        self._removal = next(self._removals, None)
        self._remains = RedactedDigest()
        self.entries, self.emptied, self.erased = entries, 0, 0
        self.kept_at = 0 if origin.hex() == kept else None

    def check_row(self, row: EventRow, stored: bytes, here: bytes) -> bool:
        """Check the next entry, given its stored previous hash and its own; return False if it is not valid."""
        fits = row.sequence == self.entries + 1 and stored == self._previous
        if not fits or not (self._covers(row.sequence) if row.redacted else here == hash_row(stored, row)):
            return False
        if row.redacted:
            self._remains.add(row, here)
        if row.sealed is not None and row.sealed[:PREFIX_BYTES] in self._erased_keys:
            self.erased += 1
        if (
            self._removal is not None
            and row.sequence == self._removal.up_to
            and not self._check_redaction(self._removal)
        ):
            return False
        self._previous, self.entries = here, row.sequence
        if here.hex() == self._kept:
            self.kept_at = self.entries
        return True

    def get_result(self, broken_at: int | None = None) -> VerificationResult:
        """Return the result so far."""
        return VerificationResult(
            self.entries, broken_at, self._previous.hex(), self.kept_at, self.emptied, self.erased
        )

    def _covers(self, sequence: int) -> bool:
        removal = self._removal
        return removal is not None and removal.after < sequence <= removal.up_to

    def _check_redaction(self, removal: Redaction) -> bool:
        """Compare the remains of the emptied entries with the record of their removal."""
        remains = self._remains
        self._removal, self._remains = next(self._removals, None), RedactedDigest()
        self.emptied += remains.entries
        return (remains.entries, remains.digest()) == (removal.emptied, removal.digest)
