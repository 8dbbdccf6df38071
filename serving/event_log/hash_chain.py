"""Hash chain of the event log: each entry's hash covers the previous hash and all columns of the entry.

An entry whose content was removed (`serving.state.forgetting`) keeps its hash. A later entry records the removal, with
a digest of what remains of these entries. So the remains cannot be changed unnoticed either.

sequence 1 to 3   RB1 to RB3 were scored; their content was removed   hash 3 is stored; the digest in 5 covers the remains
sequence 4        RB4 was scored                                      hash 4 covers hash 3 and the entry
sequence 5        records who removed the content of 1 to 3, and why  hash 5 covers hash 4 and the entry
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from serving.event_log.events import EMPTY, PLACES, Columns, encode_columns, hash_row

_PLAIN, _NAME = (PLACES[name] for name in ("plain", "consignment_id"))


class Redaction(msgspec.Struct, frozen=True):
    """The record of a removal of content from the entries after `after` up to `up_to`; `digest` is the `RedactedDigest` of the `emptied` ones.

    They were recorded before `before_us`, or, whenever that was, are those of `consignment_id`.
    """

    after: int
    up_to: int
    emptied: int
    digest: bytes
    before_us: int
    approved_by: str
    why: str
    consignment_id: str = ""


class RedactedRanges:
    """The entries whose content was removed, by all removals in order; up to `end` that of all consignments was.

    `by_name` are the removals of each consignment, and under an empty name those of all. The range of one begins after those of earlier
    removals of the same entries, whose remains are not part of it.
    """

    def __init__(self, removals: Iterable[Redaction]) -> None:
        self.end = 0
        self.by_name: dict[str | None, list[Redaction]] = {}
        for removal in removals:
            mine = self.by_name.setdefault(removal.consignment_id, [])
            if removal.consignment_id:
                after = max([removal.after, self.end, *(each.up_to for each in mine)])
                mine.append(msgspec.structs.replace(removal, after=after))
            else:
                mine.append(removal)
                self.end = max(self.end, removal.up_to)

    def covers(self, sequence: int, consignment_id: str | None) -> bool:
        """Check whether the content of an arrival was removed."""
        singles = self.by_name.get(consignment_id, ())
        return sequence <= self.end or any(each.after < sequence <= each.up_to for each in singles)


class RedactedDigest:
    """The digest of what remains of entries without content: SHA-256 of their columns and hashes, in order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.entries = 0

    def add(self, row: Columns, here: bytes) -> None:
        """Add the remaining columns of an entry, and its hash."""
        self._sha256.update(encode_columns(row) + here)
        self.entries += 1

    def digest(self) -> bytes:
        """Return the digest of all added entries."""
        return self._sha256.digest()


class VerificationResult(NamedTuple):
    """The result of verifying the hash chain: the number of valid entries, and `broken_at`, the first one that is not, or None.

    `head` is the hash of the last valid entry; stored elsewhere, it later detects truncation. `kept_at` is the entry with the hash that was
    stored, 0 for that of an empty log, None if no entry has it. `emptied` is the number of entries without content, as recorded.
    """

    entries: int
    broken_at: int | None
    head: str
    kept_at: int | None = None
    emptied: int = 0

    def describe_fault(self, kept: str = "") -> str:
        """Describe what is wrong with the log; return an empty text if the log is valid."""
        if self.broken_at is not None:
            return (
                f"the hash chain breaks after entry {self.entries:,}: the next entry, {self.broken_at:,}, was changed, "
                "or an entry before it was deleted, inserted or emptied"
            )
        if kept and self.kept_at is None:
            return "no entry has the hash given by --head: the log was truncated or rewritten"
        return ""


class _OpenRemoval(NamedTuple):
    """A recorded removal, and the digest of what remains of the entries that it concerns."""

    recorded: Redaction
    remains: RedactedDigest

    @property
    def is_valid(self) -> bool:
        """Return whether the remains are those that were recorded."""
        return (self.remains.entries, self.remains.digest()) == (self.recorded.emptied, self.recorded.digest)


class ChainVerifier:
    """A verifier of the hash chain, which checks entry after entry after `entries` of them, whose hash is `origin`; `kept` is a hash that was stored elsewhere."""

    def __init__(
        self,
        origin: bytes,
        removals: Iterable[Redaction],
        kept: str = "",
        entries: int = 0,
    ) -> None:
        self._previous, self._kept = origin, kept
        self._removals = {
            name: [_OpenRemoval(each, RedactedDigest()) for each in recorded if each.up_to > entries]
            for name, recorded in RedactedRanges(removals).by_name.items()
        }
        self._ending: dict[int, list[_OpenRemoval]] = {}
        for each in chain.from_iterable(self._removals.values()):
            self._ending.setdefault(each.recorded.up_to, []).append(each)
        self.entries, self.emptied = entries, 0
        self.kept_at = 0 if origin.hex() == kept else None

    def check_rows(self, rows: Sequence[Columns], hashes: Sequence[bytes]) -> int | None:
        """Check the next entries, with columns as in `EventRow`, and their hashes; return the first that is not valid."""
        for row, here in zip(rows, hashes, strict=True):
            if row[0] != self.entries + 1 or not self._is_valid(row, here):
                return int(row[0])
            self._previous, self.entries = here, row[0]
            if self._kept and here.hex() == self._kept:
                self.kept_at = self.entries
        return None

    def get_result(self, broken_at: int | None = None) -> VerificationResult:
        """Return the result so far."""
        return VerificationResult(self.entries, broken_at, self._previous.hex(), self.kept_at, self.emptied)

    def _is_valid(self, row: Columns, here: bytes) -> bool:
        """Check an entry, and the removals whose last entry it is."""
        if row[_PLAIN] == EMPTY:
            concerned = self._list_concerned(row)
            for each in concerned:
                each.remains.add(row, here)
            self.emptied += 1
            valid = bool(concerned)
        else:
            valid = here == hash_row(self._previous, row)
        ending = self._ending.get(row[0])
        return valid and (ending is None or all(each.is_valid for each in ending))

    def _list_concerned(self, row: Columns) -> list[_OpenRemoval]:
        """List the removals that concern an entry without content."""
        both = chain(self._removals.get("", ()), self._removals.get(row[_NAME], ()))
        return [each for each in both if each.recorded.after < row[0] <= each.recorded.up_to]
