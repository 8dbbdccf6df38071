"""Hash chain of the event log: each entry's hash covers the previous hash and all columns of the entry.

An entry whose content was removed (`serving.maintenance.retention`) keeps its hash. A later entry records the removal, with
a digest of what remains of these entries. So the remains cannot be changed unnoticed either.

sequence 1 to 3   RB1 to RB3 were scored; their content was removed   hash 3 is stored; the digest in 5 covers the remains
sequence 4        RB4 was scored                                      hash 4 covers hash 3 and the entry
sequence 5        records who removed the content of 1 to 3, and why  hash 5 covers hash 4 and the entry
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from serving.event_log.event_rows import PLACES, Columns, encode_columns, hash_rows
from serving.event_log.events import EMPTY

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
    """The entries whose content was removed, by all removals in order; up to `end` that of all consignments was."""

    def __init__(self, removals: Iterable[Redaction]) -> None:
        self.end = 0
        self._single: dict[str, list[Redaction]] = {}
        for removal in removals:
            if removal.consignment_id:
                # What was removed before by another record is not part of this one.
                before = self._single.setdefault(removal.consignment_id, [])
                after = max([removal.after, self.end, *(each.up_to for each in before)])
                before.append(msgspec.structs.replace(removal, after=after))
            else:
                self.end = max(self.end, removal.up_to)

    def list_single(self) -> list[Redaction]:
        """List the removals of single consignments; the range of each begins after earlier ones of the same entries."""
        return [removal for removals in self._single.values() for removal in removals]

    def covers(self, sequence: int, consignment_id: str | None) -> bool:
        """Check whether the content of an arrival was removed."""
        singles = self._single.get(consignment_id or "", ())
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
        recorded = list(removals)
        self._removals = (each for each in recorded if not each.consignment_id and each.up_to > entries)
        self._single = [each for each in RedactedRanges(recorded).list_single() if each.up_to > entries]
        self._single_remains = [RedactedDigest() for _ in self._single]
        self._removal = next(self._removals, None)
        self._remains = RedactedDigest()
        self.entries, self.emptied = entries, 0
        self.kept_at = 0 if origin.hex() == kept else None

    def check_rows(self, rows: Sequence[Columns], hashes: Sequence[bytes]) -> int | None:
        """Check the next entries, with columns as in `EventRow`, and their hashes; return the first that is not valid."""
        checked = self._check_plain(rows, hashes)
        for row, here in zip(rows[checked:], hashes[checked:], strict=True):
            if not self._check_row(row, here):
                return int(row[0])
        return None

    def _check_plain(self, rows: Sequence[Columns], hashes: Sequence[bytes]) -> int:
        """Check entries as long as they need nothing but their hash; return their number."""
        if self._removal is not None or self._single or self._kept:
            return 0
        count, previous = 0, self._previous
        for row, here in zip(rows, hashes, strict=True):
            if row[0] != self.entries + 1 or row[_PLAIN] == EMPTY or here != hash_rows(previous, [row])[0]:
                break
            previous = here
            self.entries += 1
            count += 1
        self._previous = previous
        return count

    def _check_row(self, row: Columns, here: bytes) -> bool:
        """Check the next entry and its hash."""
        sequence, redacted = row[0], row[_PLAIN] == EMPTY
        if sequence != self.entries + 1:
            return False
        if redacted:
            if not self._covers(row):
                return False
            self._add_remains(row, here)
        elif here != hash_rows(self._previous, [row])[0]:
            return False
        if self._single and not all(map(self._check_single, self._list_ending(sequence))):
            return False
        removal = self._removal
        if removal is not None and sequence == removal.up_to and not self._check_redaction(removal):
            return False
        self._previous, self.entries = here, sequence
        if self._kept and here.hex() == self._kept:
            self.kept_at = sequence
        return True

    def get_result(self, broken_at: int | None = None) -> VerificationResult:
        """Return the result so far."""
        return VerificationResult(self.entries, broken_at, self._previous.hex(), self.kept_at, self.emptied)

    def _covers(self, row: Columns) -> bool:
        return self._is_in_range(row) or any(_concerns(removal, row) for removal in self._single)

    def _is_in_range(self, row: Columns) -> bool:
        removal = self._removal
        return removal is not None and removal.after < row[0] <= removal.up_to

    def _add_remains(self, row: Columns, here: bytes) -> None:
        if self._is_in_range(row):
            self._remains.add(row, here)
        for removal, remains in zip(self._single, self._single_remains, strict=True):
            if _concerns(removal, row):
                remains.add(row, here)
                self.emptied += not self._is_in_range(row)

    def _list_ending(self, sequence: int) -> list[int]:
        """List the positions of the removals of single consignments whose last entry this is."""
        return [place for place, each in enumerate(self._single) if each.up_to == sequence]

    def _check_single(self, place: int) -> bool:
        removal, remains = self._single[place], self._single_remains[place]
        return (remains.entries, remains.digest()) == (removal.emptied, removal.digest)

    def _check_redaction(self, removal: Redaction) -> bool:
        """Compare the remains of the emptied entries with the record of their removal."""
        remains = self._remains
        self._removal, self._remains = next(self._removals, None), RedactedDigest()
        self.emptied += remains.entries
        return (remains.entries, remains.digest()) == (removal.emptied, removal.digest)


def _concerns(removal: Redaction, row: Columns) -> bool:
    """Check whether a removal of a single consignment concerns an entry."""
    named: bool = row[_NAME] == removal.consignment_id
    return named and removal.after < row[0] <= removal.up_to
