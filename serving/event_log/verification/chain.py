"""Verification of the log's hash chain from the first entry to the last."""

from collections.abc import Iterator
from typing import Any

from consignments.errors import ServiceFault
from serving.event_log.blocks.codec import DamagedBlock, check_summary, open_block
from serving.event_log.event_rows import Columns
from serving.event_log.hash_chain import ChainVerifier, Redaction, VerificationResult
from serving.event_log.key_erasures import read_key_erasures
from serving.event_log.queries import ALL_COLUMNS
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import read_redactions

HEAD_PATTERN = "[0-9a-f]{64}"


def verify_chain(
    log: LogReader, kept: str = "", progress: Progress | None = None, after: int = 0, until: int | None = None
) -> VerificationResult:
    """Verify the hash chain of a range of entries; of the whole log as it was when it was opened, by default.

    Parameters
    ----------
    log : LogReader
    kept : str, optional
        Hash of an entry that was stored elsewhere, hexadecimal.
    progress : callable, optional
    after, until : int
        Range of sequence numbers; `after` excluded, `until` included. The range begins earlier if content was removed in one
        step from entries on both sides of its beginning.
    """
    until = log.last_sequence if until is None else until
    removals, erased = _read_records(log)
    after = min([after, *(removal.after for removal in removals if removal.up_to > after)])
    try:
        before = log.read_hash(after)
    except DamagedBlock:
        before = None
    if before is None:
        return VerificationResult(after - 1, after, "")
    walk = ChainVerifier(before, removals, kept, erased, after)
    try:
        for rows, hashes in _read_hashed(log, after, until):
            broken_at = walk.check_rows(rows, hashes)
            if broken_at is not None:
                return walk.get_result(broken_at=broken_at)
            if progress is not None:
                progress("chain", walk.entries, until)
    except DamagedBlock:
        return walk.get_result(broken_at=walk.entries + 1)
    if walk.entries < until:
        return walk.get_result(broken_at=walk.entries + 1)
    return walk.get_result()


def _read_records(log: LogReader) -> tuple[list[Redaction], set[bytes]]:
    """Read the recorded removals of content and erased key prefixes; nothing if a block of them is damaged.

    The walk through the chain then stops at this block, or at an entry whose removal is not known.
    """
    try:
        return read_redactions(log), {erasure.prefix for erasure in read_key_erasures(log)}
    except DamagedBlock:
        return [], set()


def _read_hashed(log: LogReader, after: int, until: int) -> Iterator[tuple[list[Columns], list[bytes]]]:
    """Read blocks with their hashes, and check the numbers of each; leave out entries that are not in the range."""
    for found in log.queries.fetch_blocks(ALL_COLUMNS, after, until):
        for stored in found:
            yield _read_block(stored, after, until)
            after = max(after, stored.last)  # the next one may have been joined with this one meanwhile


def _read_block(stored: Any, after: int, until: int) -> tuple[list[Columns], list[bytes]]:
    block = open_block(stored.first, stored.last, stored.head, stored.body)
    rows, hashes = block.read_rows(), block.hashes
    check_summary(stored, rows)
    start, end = max(0, after + 1 - block.first), until - block.first + 1
    return rows[start:end], hashes[start:end]


def require_valid_chain(log: LogReader, after: int = 0, until: int | None = None) -> None:
    """Verify the hash chain of a range of entries, as `verify_chain` does.

    Raises
    ------
    ServiceFault
        The chain is broken, or the log cannot be read.
    """
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
