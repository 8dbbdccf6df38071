"""Verification of the log's hash chain: each entry's hash covers the previous hash and all columns of the entry.

An entry whose content was removed (`serving.state.forgetting`) keeps its hash. A later entry records the removal, with
a digest of what remains of these entries. So the remains cannot be changed unnoticed either.

sequence 1 to 3   RB1 to RB3 were scored; their content was removed   hash 3 is stored; the digest in 5 covers the remains
sequence 4        RB4 was scored                                      hash 4 covers hash 3 and the entry
sequence 5        records who removed the content of 1 to 3, and why  hash 5 covers hash 4 and the entry

At a start of the service the entries are verified that the start reads:

    no snapshot                      the chain of the whole log is checked
    a snapshot of entry 200,000      the chain is checked from the hash that the snapshot holds of this entry

Many entries are checked by another process, while this one loads the model and rebuilds the state, which takes about as long.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from consignments.errors import ServiceFault
from consignments.workers import pause_garbage_collection
from serving.event_log.databases.backend import URL_SETTING
from serving.event_log.events import EMPTY, PLACES, Columns, hash_row
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import RedactedDigest, RedactedRanges, Redaction, read_redactions

HEAD_PATTERN = "[0-9a-f]{64}"
MAX_INLINE_ENTRIES = 20_000
"""Maximum number of entries that are checked without another process, within some tenths of a second."""
COMMAND = [sys.executable, "-P", "-m", "serving.event_log.verification"]
_PLAIN, _NAME = (PLACES[name] for name in ("plain", "consignment_id"))


class VerificationResult(NamedTuple):
    """The result of verifying the hash chain: the number of valid entries, the first one that is not, and the hash of the last valid one.

    `kept_at` is the entry with the hash that was stored, 0 for that of an empty log, None if no entry has it; `emptied` counts the entries
    whose content was removed.
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


_OpenRemoval = tuple[Redaction, RedactedDigest]
"""A recorded removal, and the digest of what remains of the entries that it concerns."""


class ChainVerifier:
    """A verifier of the hash chain after its first `entries`, whose hash is `origin`; `kept` is a hash stored elsewhere."""

    def __init__(
        self, origin: bytes, removals: Iterable[Redaction], kept: str = "", entries: int = 0
    ) -> None:
        self._previous, self._kept = origin, kept
        self._removals = {
            name: [(each, RedactedDigest()) for each in recorded if each.up_to > entries]
            for name, recorded in RedactedRanges(removals).by_name.items()
        }
        self._ending: dict[int, list[_OpenRemoval]] = {}
        for each in chain.from_iterable(self._removals.values()):
            self._ending.setdefault(each[0].up_to, []).append(each)
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
            both = chain(self._removals.get("", ()), self._removals.get(row[_NAME], ()))
            concerned = [remains for removal, remains in both if removal.after < row[0] <= removal.up_to]
            for remains in concerned:
                remains.add(row, here)
            self.emptied += 1
            valid = bool(concerned)
        else:
            valid = here == hash_row(self._previous, row)
        return valid and all(remains.matches(removal) for removal, remains in self._ending.get(row[0], ()))


def verify_chain(
    log: LogReader, kept: str = "", progress: Progress | None = None, after: int = 0, until: int | None = None
) -> VerificationResult:
    """Verify the hash chain of a range of entries; of the whole log as it was when it was opened, by default."""
    until = log.last_sequence if until is None else until
    removals: list[Redaction] = []
    # The walk stops at a changed removal, or at an entry whose removal is not known.
    with suppress(msgspec.MsgspecError):
        removals = read_redactions(log)
    after = min([after, *(removal.after for removal in removals if removal.up_to > after)])
    before = log.read_hash(after)
    if before is None:
        return VerificationResult(after - 1, after, "")
    walk = ChainVerifier(before, removals, kept, after)
    for rows, hashes in log.read_hashed_rows(after, until):
        broken_at = walk.check_rows(rows, hashes)
        if broken_at is not None:
            return walk.get_result(broken_at=broken_at)
        if progress is not None:
            progress("chain", walk.entries, until)
    return walk.get_result(broken_at=walk.entries + 1 if walk.entries < until else None)


def require_valid_chain(log: LogReader, after: int = 0, until: int | None = None) -> None:
    """Verify the hash chain of a range of entries, as `verify_chain` does; raise `ServiceFault` if it is broken."""
    refuse_broken_chain(verify_chain(log, after=after, until=until))


def refuse_broken_chain(result: VerificationResult) -> None:
    """Raise `ServiceFault` if the chain is broken."""
    if result.broken_at is not None:
        raise ServiceFault(
            "the event log is damaged: the hash chain is broken",
            where=f"log entry {result.broken_at}",
            got=result.describe_fault(),
            expected="an unchanged log",
            todo="nothing was written; run npsrisk verify-log, then restore the log from its backup (npsrisk restore)",
        )


class StartCheck:
    """The check of the chain during a start, of the entries after `after`; `url` is that of the log's database."""

    def __init__(self, log: LogReader, url: str, after: int) -> None:
        self._log, self._url = log, url
        self._until = log.last_sequence
        self._after = min(after, self._until)
        self._finished = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._until - self._after > MAX_INLINE_ENTRIES:
            given = [*COMMAND, str(self._after), str(self._until)]
            self._process = subprocess.Popen(given, env=os.environ | {URL_SETTING: self._url})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Verify the chain before any other fault of an entry is reported, and end the other process."""
        try:
            if isinstance(error, Exception) and not self._finished:
                self.finish(0)
        finally:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def finish(self, after: int) -> None:
        """Wait for the result, and check the entries from which the state was in fact built."""
        self._finished = True
        if after < self._after:
            require_valid_chain(self._log, after, self._after)
        if self._process is None or self._process.wait():  # it found a fault, or could not look
            require_valid_chain(self._log, self._after, self._until)


def main() -> None:
    """Check the chain of a range of entries of the service's log, and end with 1 if it is broken or cannot be read."""
    after, until = map(int, sys.argv[1:])
    with (
        pause_garbage_collection(),
        suppress(ServiceFault),
        LogReader.open_to_read(os.environ[URL_SETTING]) as log,
    ):
        require_valid_chain(log, after, until)
        return
    sys.exit(1)


if __name__ == "__main__":
    main()
