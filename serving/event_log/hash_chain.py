"""The chain of the event log: each entry's hash is made of the hash before it and of all its columns.

An entry whose content was removed (`serving.maintenance.retention`) keeps its hash, and a later entry of the chain, the record of the
removal, holds a digest of all that is left of such entries: so nothing that is left can be changed either.

sequence 1 to 3   RB1 to RB3 are scored, their content was removed    hash 3 is stored; what is left is in the digest of 5
sequence 4        RB4 is scored                                       hash 4 is made of hash 3 and of the entry
sequence 5        the content of 1 to 3 was removed, by whom and why  hash 5 is made of hash 4 and of the entry
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from serving.encryption.key_file import PREFIX_BYTES
from serving.event_log.event_rows import Columns, EventRow

_encode = msgspec.msgpack.Encoder().encode


def hash_row(previous: bytes, row: Columns) -> bytes:
    """Compute the hash of an entry: SHA-256 of the hash before it and of all its columns, in order, as MessagePack.

    Returns
    -------
    bytes
        32.
    """
    return hashlib.sha256(previous + _encode(row)).digest()


class Redaction(msgspec.Struct, frozen=True):
    """That the content of consignments was removed from the log, and what is left of them.

    Attributes
    ----------
    after, up_to : int
        Sequences between which it was removed, `after` excluded and `up_to` included.
    emptied : int
        Entries that lost their content.
    digest : bytes
        `RedactedDigest` of these entries.
    before_us : int
        They were recorded before this moment, in microseconds since the epoch.
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
    """The digest of what is left of entries without content: SHA-256 of their columns and hashes, in their order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.entries = 0

    def add(self, row: EventRow, here: bytes) -> None:
        """Take what is left of an entry, and its hash."""
        self._sha256.update(_encode(row) + here)
        self.entries += 1

    def digest(self) -> bytes:
        """Give the digest of all that were taken."""
        return self._sha256.digest()


class VerificationResult(NamedTuple):
    """What a walk along the chain found.

    Attributes
    ----------
    entries : int
        Entries that hold together, from the first.
    broken_at : int or None
        Sequence of the first entry that does not fit; None where all do.
    head : str
        Hash of the last entry that fits, hexadecimal. Kept elsewhere, it proves that nothing up to it was cut off or
        written anew.
    kept_at : int or None
        Sequence of the entry whose hash was kept elsewhere, 0 for that of an empty log; None where no entry has it.
    emptied : int
        Of the entries that hold together, those whose content was removed on record.
    erased : int
        Of them, those with personal fields that nobody can open: the key of their month was erased on record.
    """

    entries: int
    broken_at: int | None
    head: str
    kept_at: int | None = None
    emptied: int = 0
    erased: int = 0

    def describe_fault(self, kept: str = "") -> str:
        """Say what is wrong with the log, in one sentence; empty where nothing is.

        Parameters
        ----------
        kept : str
            The hash that was kept elsewhere, where there is one.
        """
        if self.broken_at is not None:
            return (
                f"the chain breaks behind entry {self.entries:,}: the entry found next, {self.broken_at:,}, was changed, "
                "or one before it was taken out, put in or emptied"
            )
        if kept and self.kept_at is None:
            return (
                "no entry has the hash that was kept: later entries were cut off, or the log was written anew"
            )
        return ""


class ChainVerifier:
    """A walk along a chain, from its first entry on.

    Parameters
    ----------
    origin : bytes
        What stands in place of the hash before the first entry.
    removals : iterable of Redaction
        On record in the log, in their order; the walk itself comes to these entries later.
    kept : str
        Hash of an entry that was kept elsewhere, hexadecimal.
    erased : collection of bytes
        What personal fields begin with whose key was erased on record.
    """

    def __init__(
        self, origin: bytes, removals: Iterable[Redaction], kept: str = "", erased: Collection[bytes] = ()
    ) -> None:
        self._previous, self._kept, self._erased_keys = origin, kept, erased
        self._removals = iter(removals)
        self._removal = next(self._removals, None)
        self._remains = RedactedDigest()
        self.entries = self.emptied = self.erased = 0
        self.kept_at = 0 if origin.hex() == kept else None

    def check_row(self, row: EventRow, stored: bytes, here: bytes) -> bool:
        """Take the next entry, the hash before it as it has it, and its own; False if it does not fit."""
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
        """Say what was found so far."""
        return VerificationResult(
            self.entries, broken_at, self._previous.hex(), self.kept_at, self.emptied, self.erased
        )

    def _covers(self, sequence: int) -> bool:
        removal = self._removal
        return removal is not None and removal.after < sequence <= removal.up_to

    def _check_redaction(self, removal: Redaction) -> bool:
        """Compare what is left of the emptied entries with the record of their removal."""
        remains = self._remains
        self._removal, self._remains = next(self._removals, None), RedactedDigest()
        self.emptied += remains.entries
        return (remains.entries, remains.digest()) == (removal.emptied, removal.digest)
